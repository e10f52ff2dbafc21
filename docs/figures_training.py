"""What the pages say of a training step's parts, and of the search for the CIFAR-10 board's protocol."""

from __future__ import annotations

import json
from typing import Any

from figures_boards import ROOT

KINDS = ("convolution", "batch norm", "elementwise", "copies", "rest")
ARCHS = {"resnet-18": "ResNet-18", "wrn-10-1": "WRN-10-1", "wrn-10-2": "WRN-10-2"}


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def step_accounting() -> str:
    """The share of each kind of operation in a step."""
    found = _result("step-accounting")
    kinds = " | ".join(f"{each}, %" for each in KINDS)
    lines = [f"| FIRE | step | to released | {kinds} | GFLOP/s within convolutions |",
             "| --- " + "| ---: " * (len(KINDS) + 3) + "|"]  # fmt: skip
    first = {each["arch"]: each["seconds"] for each in found["steps"] if each["way"] == "released"}
    for each in found["steps"]:
        shares, seconds = each["shares"], each["seconds"]
        within = seconds * shares["convolution"] / 100
        parts = " | ".join(f"{shares.get(kind, 0):.0f}" for kind in KINDS)
        name = "as released" if each["way"] == "released" else each["way"]
        lines.append(
            f"| {ARCHS[each['arch']]}, {name} | {seconds:.2f} s | {first[each['arch']] / seconds:.2f} | {parts} | "
            f"{each['flops'] / within / 1e9:,.0f} |"
        )
    about = found["about"]
    rates = " and ".join(f"{rate / 1e9:,.0f} in {name}" for name, rate in about["matmul"].items())
    cores = f"{about['threads']} thread{'s' * (about['threads'] > 1)}"
    return "\n".join(lines) + (
        f"\n\n{about['device']}, {cores}, torch {about['torch']}, batches of {about['batch']} real images; a matrix "
        f"product reaches {rates} there."
    )


def cifar10_search() -> str:
    """What each way of spending the same time came to on validation images."""
    lines = ["| network | attack in training | epochs | minutes on one core | clean | PGD-20 |",
             "| --- | --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for each in _result("cifar10-search")["ways"]:
        attack = f"{each['steps']} step{'s' * (each['steps'] > 1)} of {each['step']}"
        cells = (each["epochs"], f"{each['seconds'] / 60:.1f}", f"{each['clean']:.1f}", f"{each['pgd20']:.1f}")
        lines.append(f"| {ARCHS[each['arch']]} | {attack} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
