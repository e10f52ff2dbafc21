"""Uploading a bundle to the Hugging Face Hub; needs the extra ``hub``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from robench_fire.errors import DataError, UsageError
from robench_fire.runs.folders import read_json
from robench_fire.submission import bundle
from robench_fire.submission.checks import evidence
from robench_fire.submission.checks.check import refuse


def push(folder: Path, target: str, dry_run: bool) -> tuple[str, list[Path]]:
    """Upload every file of a bundle to ``target`` ("hf:USER/REPO"), or only list them; the checkpoint's link and they.

    The model card also becomes the repository's README.md.

    Raises:
        UsageError: for another target, for a draft, or without huggingface_hub.
        DisagreesError: if a file of the bundle is missing or was changed.
        DataError: if the upload fails.
    """
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)", target)
    if match is None:
        raise UsageError(f"--push {target}: expected hf:USER/REPO")
    refuse(evidence.there(folder), folder)
    claim = bundle.read(folder)
    if claim.missing:
        lacking = "".join(f"\n  {each}" for each in claim.missing)
        raise UsageError(f"{folder} is a draft, which is not uploaded; missing:{lacking}")
    if not read_json(folder / bundle.CHECKED).get("passed"):
        raise DataError(f"{folder} did not pass its check; `robench submit --check {folder}` says why")
    name = claim.name
    listed = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    if not dry_run:
        _upload(folder, name, match[1])
    return f"https://huggingface.co/{match[1]}/resolve/main/checkpoint/{name}.pt", listed


def _upload(folder: Path, name: str, repository: str) -> None:
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UsageError("--push needs huggingface_hub: pip install huggingface_hub") from None
    hub: Any = HfApi()
    message = f"{name}: bundle for RobustBench"
    try:
        hub.create_repo(repository, repo_type="model", exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=str(folder), commit_message=message)
        card = folder / "MODEL_CARD.md"
        hub.upload_file(repo_id=repository, path_or_fileobj=str(card), path_in_repo="README.md", commit_message=message)
    except Exception as fault:  # whatever the network or the hub answers
        said = str(fault).strip().split("\n")[0][:200]
        raise DataError(
            f"hf:{repository}: the upload failed ({type(fault).__name__}: {said}); log in with `hf auth login` and "
            "give the same command again"
        ) from None
