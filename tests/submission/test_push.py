"""`robench submit --push`: what is uploaded, and what is not."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import submission_runs as made
from command_line import robench

from robench_fire.errors import DataError, DisagreesError, UsageError
from robench_fire.submission.push import push

pytestmark = pytest.mark.slow

Call = tuple[str, dict[str, Any]]


class Hub:
    """A stand-in for huggingface_hub's HfApi that notes what it is asked to do, or fails at one of it."""

    fails = ""
    calls: list[Call] = []  # noqa: RUF012

    def _note(self, name: str, given: dict[str, Any]) -> None:
        if name == self.fails:
            raise ConnectionError(f"401 for {name}\nand a long tale")
        self.calls.append((name, given))

    def create_repo(self, repo_id: str, **given: Any) -> None:
        self._note("create_repo", {"repo_id": repo_id, **given})

    def upload_folder(self, **given: Any) -> None:
        self._note("upload_folder", given)

    def upload_file(self, **given: Any) -> None:
        self._note("upload_file", given)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    module = types.ModuleType("huggingface_hub")
    fresh = type("Fresh", (Hub,), {"calls": []})
    module.HfApi = fresh  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return fresh


def test_a_dry_run_lists_every_file_and_uploads_none(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # not even imported
    assert robench("submit", str(bundle), "--push", "hf:me/fire", "--dry-run") == 0
    said = capsys.readouterr()
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert said.out.splitlines() == [path.as_posix() for path in sorted(map(Path, files))]
    link = f"https://huggingface.co/me/fire/resolve/main/checkpoint/{made.NAME}.pt"
    assert f"{len(files)} files would go to hf:me/fire; then give --link {link}" in said.err


def test_everything_is_uploaded_and_the_card_is_the_readme(
    bundle: Path, hub: type[Hub], capsys: pytest.CaptureFixture[str]
) -> None:
    assert robench("submit", str(bundle), "--push", "hf:me/fire.v2") == 0
    message = {"commit_message": f"{made.NAME}: bundle for RobustBench"}
    card = {"path_or_fileobj": str(bundle / "MODEL_CARD.md"), "path_in_repo": "README.md"}
    assert hub.calls == [
        ("create_repo", {"repo_id": "me/fire.v2", "repo_type": "model", "exist_ok": True}),
        ("upload_folder", {"repo_id": "me/fire.v2", "folder_path": str(bundle), **message}),
        ("upload_file", {"repo_id": "me/fire.v2", **card, **message}),
    ]
    assert "files lie at hf:me/fire.v2; then give --link https://hugg" in capsys.readouterr().err


@pytest.mark.parametrize("fails", ["create_repo", "upload_folder", "upload_file"])
def test_an_upload_that_fails_says_what_to_do(bundle: Path, hub: type[Hub], fails: str) -> None:
    hub.fails = fails
    with pytest.raises(DataError, match=r"^hf:me/fire: the upload failed \(ConnectionError: 401 for \w+\); log in"):
        push(bundle, "hf:me/fire", False)


def test_without_the_package_the_extra_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install huggingface_hub"):
        push(bundle, "hf:me/fire", False)


@pytest.mark.parametrize("target", ["s3:me/fire", "hf:fire", "hf:me/fire/more", "me/fire", "hf:", "hf:me/fi re", ""])
def test_other_targets_are_refused(bundle: Path, hub: type[Hub], target: str) -> None:
    with pytest.raises(UsageError, match="expected hf:USER/REPO"):
        push(bundle, target, False)
    assert hub.calls == []


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("path", ["changed refs.bib", "missing refs.bib", "more notes.txt", "no SHA256SUMS"])
def test_a_bundle_that_was_changed_is_not_uploaded(
    bundle: Path, hub: type[Hub], path: str, dry_run: bool, tmp_path: Path
) -> None:
    own, (what, name) = made.copied(bundle, tmp_path / "own"), path.split()
    (own / name).unlink() if what in ("missing", "no") else (own / name).write_text("another")
    with pytest.raises(DisagreesError, match=re.escape(name)) as fault:
        push(own, "hf:me/fire", dry_run)
    assert fault.value.exit_code == 7
    assert hub.calls == []


def test_a_bundle_that_a_person_completed_is_uploaded(bundle: Path, hub: type[Hub], tmp_path: Path) -> None:
    own = made.copied(bundle, tmp_path / "own")
    (own / "ISSUE.md").write_text((own / "ISSUE.md").read_text().replace("- [ ]", "- [x]"))
    push(own, "hf:me/fire", False)
    assert [name for name, _ in hub.calls] == ["create_repo", "upload_folder", "upload_file"]
