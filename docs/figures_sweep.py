"""What the pages say of the sweep on digits."""

from __future__ import annotations

import json
from typing import Any

from figures_boards import ROOT, listed

from robench_fire.statistics.summary import MeanStd, mean_std, tied


def digits_sweep() -> str:
    """Clean accuracy and AutoAttack's by the weight of the regulariser."""
    methods = _by_method()
    first = next(iter(methods.values()))
    lines = [
        "| weight | " + " | ".join(f"{name}: clean | {name}: AutoAttack" for name in methods) + " |",
        "| ---: " * (1 + 2 * len(methods)) + "|",
    ]
    for number, point in enumerate(first):
        cells = [_mean(own[number]["test"][measure]) for own in methods.values() for measure in ("clean", "robust")]
        lines.append(f"| {_weight(point):g} | " + " | ".join(map(format, cells)) + " |")
    said = []
    for name, own in methods.items():
        clean, robust = ([_mean(each["test"][measure]) for each in own] for measure in ("clean", "robust"))
        best = max(own, key=lambda each: each["test"]["robust"]["mean"])
        said.append(
            f"- {name}: from weight {_weight(own[0]):g} to {_weight(own[-1]):g}, clean accuracy goes from {clean[0]} "
            f"to {clean[-1]} and AutoAttack's from {robust[0]} to {robust[-1]}. Its highest mean is at "
            f"{_weight(best):g}; what cannot be told from it over {robust[0].n} seeds (Welch's t-test, 5 %): "
            f"{_tied(own, best)}."
        )
    said.append(_twice(methods["FIRE"], methods["TRADES"]))
    every = [point for own in methods.values() for point in own]
    doubtful = [f"{name} at {_weight(each):g}" for name, own in methods.items() for each in own
                if each["test"]["verdict"] == "unreliable"]  # fmt: skip
    judged = f"{len(every) - len(doubtful)} of the {len(every)} settings have only reliable evaluations"
    said.append(f"- {judged}{'; a seed is unreliable of ' if doubtful else ''}{listed(doubtful)}.")
    return "\n".join([*lines, "", *said])


def digits_sweep_selected() -> str:
    """What validation images select of the same sweep, and what that is worth on the test images."""
    lines = [
        "| method | selected | validation: clean | validation: robust | test: clean | test: AutoAttack "
        "| highest mean on the test images |",
        "| --- " + "| ---: " * 6 + "|",
    ]
    below = []
    for name, own in _by_method().items():
        chosen = max(own, key=lambda each: each["validation"]["robust"]["mean"])  # of equal ones the first
        best = max(own, key=lambda each: each["test"]["robust"]["mean"])
        figures = [_mean(chosen[part][measure]) for part in ("validation", "test") for measure in ("clean", "robust")]
        highest = f"{_mean(best['test']['robust'])} at {_weight(best):g}"
        lines.append(f"| {name} | {_weight(chosen):g} | " + " | ".join(map(format, figures)) + f" | {highest} |")
        below.append(f"{best['test']['robust']['mean'] - chosen['test']['robust']['mean']:.2f}")
    said = f"The selected settings are {listed(below)} points below the highest mean on the test images."
    return "\n".join([*lines, "", said])


def _by_method() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for point in json.loads((ROOT / "results" / "digits-sweep.json").read_text(encoding="utf-8"))["points"]:
        found.setdefault(point["method"], []).append(point)
    return found


def _twice(fire: list[dict[str, Any]], trades: list[dict[str, Any]]) -> str:
    """How far FIRE is from TRADES at the weight that makes them alike to second order, and at the same weight."""
    mine, its = ({_weight(each): each["test"] for each in own} for own in (fire, trades))

    def apart(factor: float, measure: str) -> float:
        gaps = [abs(mine[factor * w][measure]["mean"] - its[w][measure]["mean"]) for w in its if factor * w in mine]
        return mean_std(gaps).mean

    return (
        "- FIRE at twice TRADES' weight, which theory says is the same to second order, is on average "
        f"{apart(2, 'clean'):.2f} points of clean accuracy and {apart(2, 'robust'):.2f} of AutoAttack's from TRADES; "
        f"at the same weight {apart(1, 'clean'):.2f} and {apart(1, 'robust'):.2f}."
    )


def _weight(point: dict[str, Any]) -> float:
    (value,) = point["settings"].values()
    return float(value)


def _mean(measured: dict[str, Any]) -> MeanStd:
    return MeanStd(measured["mean"], measured["std"], len(measured["per_seed"]))


def _tied(own: list[dict[str, Any]], best: dict[str, Any]) -> str:
    top = _mean(best["test"]["robust"])
    others = [f"{_weight(each):g}" for each in own if each is not best and tied(top, _mean(each["test"]["robust"]))]
    return listed(others) or "none"
