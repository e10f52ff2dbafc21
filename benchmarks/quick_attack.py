"""What `--attack quick` misses of AutoAttack, and what it costs, over every model that both were run on.

    robench eval RUNS --attack aa,quick
    python benchmarks/quick_attack.py RUNS... --out results/quick-attack.json

The gap is quick's robust accuracy less AutoAttack's, on the same images, in points: what quick promises too much.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from robench_fire.files import write_json
from robench_fire.runs.folders import find, read_json

SAME = ("norm", "eps", "examples", "seed", "batch_size", "weights_sha256", "images_sha256")


def pairs(folder: Path) -> list[dict[str, Any]]:
    """Of each model: its two accuracies, the seconds of each attack set, and whose it is."""
    found = []
    for run in find(folder):
        facts = [read_json(path) for path in sorted(run.folder.glob("eval.*.json"))]
        by_attack = {each["attack"]: each for each in facts}
        quick, whole = by_attack.get("quick"), by_attack.get("aa")
        if quick is None or whole is None or any(quick[key] != whole[key] for key in SAME):
            continue
        plan = run.read("plan.json")
        found.append({
            "plan": "/".join([plan["dataset"], plan["threat"]["kind"], plan["recipe"]["arch"], plan["name"]]),
            "examples": quick["examples"], "quick": quick["robust"], "aa": whole["robust"],
            "quick_seconds": sum(quick["attack_seconds"].values()), "aa_seconds": sum(whole["attack_seconds"].values()),
        })  # fmt: skip
    return found


def summary(models: list[dict[str, Any]]) -> dict[str, Any]:
    """Of some models: the mean and the largest gap, and quick's share of AutoAttack's seconds."""
    gaps = [each["quick"] - each["aa"] for each in models]
    share = sum(each["quick_seconds"] for each in models) / sum(each["aa_seconds"] for each in models)
    return {"models": len(models), "mean": sum(gaps) / len(gaps), "largest": max(gaps), "share": share}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in (each for folder in asked.runs for each in pairs(folder)):
        groups[each["plan"].rpartition("/")[0]].append(each)
    models = [each for group in groups.values() for each in group]
    if not models:
        raise SystemExit("no model has both evaluations: robench eval RUNS --attack aa,quick")
    told = {"all": summary(models), "groups": {name: summary(each) for name, each in groups.items()}, "models": models}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(asked.out, told)
    print(told["all"], told["groups"])


if __name__ == "__main__":
    main()
