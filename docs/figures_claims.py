"""What the pages say of published figures and of a paper's claims."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from figures_boards import ROOT

from robench_fire.boards.labels import labelled
from robench_fire.boards.model_info import find_rows
from robench_fire.boards.rows import Row
from robench_fire.cli.results.verdicts import reproduced
from robench_fire.comparison.claim import SHOWN
from robench_fire.comparison.claims import OUTCOMES, as_plain, decide
from robench_fire.comparison.fire_claims import FIRE_CLAIMS, SAID
from robench_fire.comparison.reproduce import reproduce


def _rows(board: str) -> list[Row]:
    return labelled(find_rows(ROOT / "leaderboards" / board))


def _kept(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((ROOT / "results" / name).read_text(encoding="utf-8"))["verdicts"]
    return found


def _size(each: dict[str, Any]) -> str:
    if each["value"] is None:
        return "–"
    sign = "" if each["test"] == "ratio" else "+"
    low, high = each["interval"]
    return f"{each['value']:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"


def _p(each: dict[str, Any]) -> str:
    value = each["p_holm"]
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _alone(each: dict[str, Any]) -> bool:
    """Whether it would be decided if there were no other claims, which is its first note then."""
    return each["verdict"] == "cannot be told" and each["p"] is not None and each["p"] < SHOWN


def _table(found: Sequence[dict[str, Any]]) -> str:
    """Verdicts, then how many there are of each."""
    lines = [
        "| claim | source | published | here (95 %) | p (Holm) | verdict |",
        "| --- | --- | --- | ---: | ---: | --- |",
    ]
    for each in found:
        verdict = each["verdict"] + f": {each['why']}" * bool(each["why"]) + " (by itself it would)" * _alone(each)
        cells = (each["says"], each["source"], each["published"], _size(each), _p(each), verdict)
        lines.append("| " + " | ".join(cells) + " |")
    counts = ", ".join(f"{sum(each['verdict'] == name for each in found)} {name}" for name in OUTCOMES)
    notes = list(dict.fromkeys(note for each in found for note in each["notes"][_alone(each) :]))
    return "\n".join([*lines, "", f"{counts}. {' '.join(notes)}".strip()])


def digits_claims() -> str:
    """The FIRE paper's claims on the board of every method."""
    return _table(_kept("digits-claims.json"))


def digits_strength_settled() -> str:
    """What the paper's own rule says of each strength."""
    found = {each["claim"]: each for each in _kept("digits-claims.json")}
    lines = ["| FIRE's weight | clean, less TRADES's (95 %) | p (Holm) | within a point | above TRADES on average |",
             "| --- | ---: | ---: | --- | --- |"]  # fmt: skip
    for name, said in SAID.items():
        rule, average = found[f"strength{name}"], found[f"average-kl{name}"]
        cells = (said, _size(rule), _p(rule), rule["verdict"], f"{average['verdict']}, {_size(average)}")
        lines.append("| " + " | ".join(cells) + " |")
    near = min(SAID, key=lambda name: abs(found[f"strength{name}"]["value"]))
    told = [said for name, said in SAID.items() if found[f"strength{name}"]["verdict"] == "confirmed"]
    needed = found[f"strength{near}"]["seeds_needed"]
    shown = f"None is shown to be within a point; {needed} seeds of each row would by themselves show it of that one."
    if told:
        shown = f"Shown to be within a point: {', '.join(told)}."
    return "\n".join([*lines, "", f"Nearest to TRADES is {SAID[near]}, the default. {shown}"])


def digits_strength_claims() -> str:
    """Those that FIRE's own rows decide, over five strengths."""
    return _table([each for each in _kept("digits-strength-claims.json") if each["test"] == "slope"])


def digits_strength_rows() -> str:
    """What each strength of FIRE reaches."""
    lines = ["| FIRE's weight on θ² | clean | AutoAttack | average |", "| --- | ---: | ---: | ---: |"]
    claim = next(each for each in FIRE_CLAIMS if each.order is not None)
    assert claim.order is not None
    for row in sorted(_rows("fire_strength/digits"), key=claim.order):
        means = row.over_seeds("clean"), row.over_seeds("robust"), row.average
        lines.append(f"| {claim.order(row):g} | " + " | ".join(f"{each}" for each in means) + " |")
    return "\n".join(lines)


def cifar10_claims() -> str:
    """The same claims on the CIFAR-10 board, those whose rows it has."""
    found = [as_plain(each) for each in decide(FIRE_CLAIMS, _rows("cifar10"))]
    return _table([each for each in found if each["value"] is not None])


def cifar10_reproduced() -> str:
    """What reproduce prints of the CIFAR-10 board."""
    return "\n".join(["```text", *reproduced(reproduce(_rows("cifar10")), 100), "```"])
