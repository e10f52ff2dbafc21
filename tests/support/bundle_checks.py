"""A bundle to break, and what its check says."""

from __future__ import annotations

from pathlib import Path

import bundle_edits as edits
import submission_runs as made

INFO = f"model_info/cifar10/Linf/{made.NAME}.json"


PT, SAFE = f"checkpoint/{made.NAME}.pt", f"checkpoint/{made.NAME}.safetensors"


SUMMARY, MASKS, LOG, ADV, VERDICT = (
    f"evidence/{name}" for name in ("aa_summary.json", "masks.npy", "autoattack.log", "adv_examples.pt",
                                    "reliability.json")
)  # fmt: skip


SEEDS, PLAN, TRAIN, CURVE, ROW, CLAIM, ENVIRONMENT, SUMS_OF_DATA = (
    f"provenance/{name}" for name in ("seeds.json", "plan.json", "train.json", "curve.jsonl", "row.json",
                                      "submission.json", "environment.json", "data_checksums.txt")
)  # fmt: skip


PATCH, ISSUE, OURS, LOADER = "zoo_entry.patch", "ISSUE.md", "robench_fire", "RobustBench's loader"


byte, tensors, text, told = edits.byte, edits.tensors, edits.text, edits.told


def failed(folder: Path) -> dict[str, str]:
    """The checks that do not pass, and what they say."""
    return {each.name: each.found for each in made.checked(folder) if not each.passed}


INSIDE, NOT = "perturbed images are in the threat model", f"{INFO} is not what the claim gives"
