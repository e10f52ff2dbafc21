"""What pages say of rows: which is first, how far that holds, how reliable, from where, and how to make it again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from robench_fire.boards.rows import Row
from robench_fire.comparison.interval import interval
from robench_fire.errors import RobenchError
from robench_fire.evaluation.reliability_text import reworded
from robench_fire.models.names import asked
from robench_fire.problem.settings import said_value
from robench_fire.quantity import same
from robench_fire.runs.folders import BATCH_SIZE
from robench_fire.statistics.summary import MeanStd
from robench_fire.tables.entries import Entry
from robench_fire.tables.marks import best_of_differences, comparable, doubtful

VERDICTS = {
    "reliable": "AutoAttack's own checks and ours found no sign that gradients are masked.",
    "unreliable": "At least one check failed: an attack that was not run may break more images.",
    "unknown": "It was not judged, or by an older version.",
}
"""What each verdict on an evaluation means, for a reader who has read nothing else."""


def lead(entries: Sequence[Entry]) -> str:
    """One sentence on what a table shows: the highest robust accuracy, and which rows cannot be told from it."""
    ours = [each for each in entries if each.row and each.robust and not doubtful(each)]
    if not ours:
        return ""
    top = max(ours, key=lambda each: each.robust.mean if each.robust else 0.0)
    assert top.row is not None
    known = interval(top.row, "robust")
    seeds = f"{len(top.row.per_seed)} seed{'s' * (len(top.row.per_seed) > 1)}, {top.row.examples:,} images"
    of = " of the reliable rows" if len(ours) < sum(each.row is not None for each in entries) else ""
    said = f"{top.method} has the highest accuracy under AutoAttack{of}"
    said += f", {known.value:.2f} ± {known.half:.2f} % (95 %, over {known.over}; {seeds})" if known else ""
    compared = [each for each in ours if each is top or (each.row and comparable(each.row, top.row))]
    if len(compared) < 2:
        return f"{said}."
    try:
        bold = best_of_differences(compared)
    except RobenchError:  # rows that do not compare
        return f"{said}."
    marked = [each for each, columns in zip(compared, bold, strict=True) if "AutoAttack" in columns]
    level = [each.method for each in marked if each is not top]
    which = " that can be compared" if len(compared) < len(ours) else ""
    if not marked:
        return f"{said}, but no other row{which} differs from it beyond what seeds and images vary."
    others = f"{', '.join(level)} cannot be told from it" if level else f"every other one{which} is below it"
    return f"{said}; {others} (Holm's correction, 5 %)."


class Reliability(NamedTuple):
    """How many evaluations of a row have each verdict, and why, by seed."""

    method: str
    counts: dict[str, int]
    reasons: list[str]


def reliability(rows: Sequence[Row]) -> list[Reliability]:
    """Of every row."""
    found = []
    for row in rows:
        verdicts = row.facts["verdicts"]
        counts = Counter(each["verdict"] for each in verdicts.values())
        reasons = [
            f"seed {seed}: {'. '.join(map(reworded, each['reasons']))}"
            for seed, each in verdicts.items() if each["verdict"] != "reliable"
        ]  # fmt: skip
        found.append(Reliability(row.name, {name: counts[name] for name in VERDICTS}, reasons))
    return found


def command(row: Row) -> str:
    """The command that trains and attacks the row's seeds again, with the plan's own fingerprint."""
    plan = row.plan
    own = plan.get("data")
    words = ["robench", "train", f"./{plan['name']}.py" if plan["code"] else plan["name"]]
    words += [f"./{row.dataset}", *(["--resize", own["resize"]] if own["resize"] else [])] if own else [row.dataset]
    words += ["--seeds", ",".join(map(str, sorted(row.per_seed)))] if len(row.per_seed) > 1 else [
        "--seed", str(min(row.per_seed))]  # fmt: skip
    words += ["--profile", row.profile] if row.profile != "matched" else []
    words += ["--norm", row.norm] if row.norm != "Linf" else []
    words += ["--arch", asked(plan["recipe"]["arch"])]
    words += _radii(row)
    words += {"file": ["--extra-data", "FILE"], "hidden": ["--hide-labels"]}.get(row.extra, [])
    for name in ("start", "teacher"):
        words += [f"--{name}", "FILE"] if plan["recipe"].get(name) else []
    for path, value in row.facts["by_hand"].items():
        words += ["--set", f"{path}={said_value(value).replace(', ', ',')}"]
    if "evaluation_order" not in row.facts:
        return _line([*words, *_attack(row, "--eval-seed", "--eval-batch")])
    run = f"runs/{row.dataset}/{plan['threat']['kind']}/{plan['name']}/{row.fingerprint}"
    shuffled = ["robench", "eval", run, "--shuffled", *_attack(row, "--seed", "--batch-size")]
    return f"{_line([*words, '--no-eval'])} && {_line(shuffled)}"


def _attack(row: Row, seed: str, batch_size: str) -> list[str]:
    """Which images it attacked, and how; ``seed``, ``batch_size``: what a command calls these options."""
    own, batch = row.evaluation_seed, row.facts["evaluation_batch_size"]
    words = ["--examples", str(row.examples), *([seed, str(own)] if own else [])]
    return [*words, *([batch_size, str(batch)] if batch != BATCH_SIZE else [])]


def _line(words: Sequence[object]) -> str:
    return shlex.join(map(str, words))


def _radii(row: Row) -> list[str]:
    """--eps moves both radii and the step with them; where they differ, each was set by itself."""
    plan = row.plan
    claimed, trained = (plan[name]["eps"] for name in ("claim", "threat"))
    asked_for = ["--eps", claimed] if plan.get("data") or not same(claimed, row.facts["usual_eps"]) else []
    if same(claimed, trained) or plan["profile"] == "official":
        return asked_for
    own = ["--eps", claimed] if plan.get("data") else []
    return [*own, "--set", f"threat.eps={trained}", "--set", f"claim.eps={claimed}"]


def origin(row: Row) -> dict[str, Any]:
    """Where a row comes from."""
    versions = sorted(row.settings("versions"))
    return {
        "Method": row.name, "Plan": row.fingerprint, "Commit": ", ".join(sorted(row.settings("commit"))) or "–",
        "Device": ", ".join(sorted(row.settings("device"))) or "–",
        "Attack": row.facts["evaluator"]["attack_version"] or "–",
        "Versions": versions[0] if len(versions) == 1 else f"{len(versions)} sets", "Command": command(row),
    }  # fmt: skip


def per_seed(row: Row) -> list[dict[str, str]]:
    """A line for each seed."""
    attack = "AutoAttack" if row.attack == "aa" else "PGD-20 alone"
    return [
        {
            "Seed": str(seed), "Clean": f"{own['clean']:.2f}", attack: f"{own['robust']:.2f}",
            "PGD-20": f"{row.pgd20[seed]:.2f}" if seed in row.pgd20 else "–",
            "Train time": f"{MeanStd(own['train_seconds'], None, 1):.1f} s",
            "Verdict": row.facts["verdicts"][str(seed)]["verdict"],
            "Weights (SHA-256)": row.facts["weights_sha256"][str(seed)][:16],
        }
        for seed, own in sorted(row.per_seed.items())
    ]  # fmt: skip
