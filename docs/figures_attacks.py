"""How long AutoAttack takes, to pyautoattack and attack by attack, from the files that benchmarks/ wrote."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from figures_boards import ROOT

ATTACKS = {"apgd-ce": "APGD-CE", "apgd-t": "APGD-T", "fab-t": "FAB-T", "square": "Square"}

FEW = 10  # images: with fewer, a profile of a batch says little


def attack_speed() -> str:
    """Ours and upstream's, in turns, with what either left robust."""
    found = _read("evaluation-speed")
    lines = ["| model | images | upstream | ours | ratio | robust images, upstream and ours | turns |",
             "| --- | ---: | ---: | ---: | ---: | --- | ---: |"]  # fmt: skip
    for name, each in found.items():
        if isinstance(each, dict) and "timings" in each:
            theirs, ours = (each["timings"][way] for way in ("upstream", "ours, one process"))
            seconds = [median(turn["seconds"] for turn in turns) for turns in (theirs, ours)]
            robust = ", ".join(str(turns[0]["robust"]) for turns in (theirs, ours))
            cells = f"{seconds[0]:.1f} s | {seconds[1]:.1f} s | {seconds[0] / seconds[1]:.1f} | {robust} | {len(ours)}"
            lines.append(f"| {name} | {each['examples']} | {cells} |")
    return "\n".join([*lines, "", _machine(found)])


def attack_accounting() -> str:
    """What each attack asks of a model, and what share of the seconds it takes."""
    found = _read("attack-accounting")
    heads = ("", "images in, broken", "forwards", "computed of them, %", "backwards", "calls", "share of seconds, %",
             "in the model, %")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name, each in found["models"].items():
        total = sum(attack["seconds"] for attack in each["attacks"].values())
        clean = f"{each['examples']} image{'s' * (each['examples'] > 1)}, {each['clean']:.0f} % clean, {total:.0f} s"
        lines.append(f"| **{name}** ({clean}) | | | | | | | |")
        lines += [_row(ATTACKS[key], attack, total) for key, attack in each["attacks"].items()]
    return "\n".join([*lines, "", _products(found["models"]), "", *_reached(found["models"]), _machine(found)])


def _row(name: str, attack: dict[str, float], total: float) -> str:
    inside = attack["forward_seconds"] + attack["backward_seconds"]
    forwards, backwards, calls = (f"{attack[key]:,}" for key in ("forwards", "backwards", "calls"))
    computed = 100 * attack["computed"] / max(1, attack["forwards"])
    shares = f"{100 * attack['seconds'] / total:.0f} | {100 * inside / attack['seconds']:.0f}"
    asked = f"{forwards} | {computed:.0f} | {backwards} | {calls}"
    return f"| {name} | {attack['entered']}, {attack['broken']} | {asked} | {shares} |"


def _products(models: dict[str, Any]) -> str:
    shares = "; ".join(
        f"{name} {100 * each['products']['forward']:.0f} and {100 * each['products']['with gradient']:.0f} %"
        for name, each in models.items()
        if each["examples"] >= FEW
    )
    return f"Convolutions and matrix products take, of a forward and of one with its gradient: {shares}."


def _reached(models: dict[str, Any]) -> list[str]:
    """What remains of Square's seconds, by number of images."""
    told = []
    for name, each in models.items():
        if ratios := each.get("reached"):
            shares = ", ".join(f"{100 * ratio:.0f} % with {count}" for count, ratio in ratios.items())
            told += [f"Square's seconds in {name}, to those of asking about whole images, by images: {shares}.", ""]
    return told


def _machine(found: dict[str, Any]) -> str:
    return f"{found['device']}, threads: {found['threads']}, torch {found['versions']['torch']}; processor seconds."


def _read(name: str) -> dict[str, Any]:
    return dict(json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8")))
