"""What docs/performance.md says of how cost grows, from the file that benchmarks/growth.py wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from figures_boards import ROOT

UNITS = {"seconds": "s", "MB": "MB"}


def growth(file: Path = ROOT / "results" / "growth.json") -> str:
    """Sizes, what the smallest and the largest take, and the exponents."""
    axes = json.loads(file.read_text(encoding="utf-8"))["axes"]
    lines = [
        "| what grows | what stays | processor time | exponent, at the end | peak memory | exponent, at the end |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for each in axes.values():
        cells = [cell for name in UNITS for cell in (_ends(each[name], UNITS[name]), _exponents(each, name))]
        sizes = f"{each['what']}, {each['sizes'][0]:,} to {each['sizes'][-1]:,}"
        lines.append(f"| {sizes} | {each['stays']} | {' | '.join(cells)} |")
    machines = dict.fromkeys(_machine(each) for each in axes.values())
    return "\n".join([*lines, "", f"{'; '.join(machines)}."])


def _ends(values: list[float], unit: str) -> str:
    return " to ".join(_said(value) for value in (values[0], values[-1])) + f" {unit}"


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _exponents(each: dict[str, Any], name: str) -> str:
    return ", ".join(f"{value:.2f}" for value in each[f"exponents of {name}"])


def _machine(each: dict[str, Any]) -> str:
    """On what it was measured, and how often."""
    threads = f"{each['threads']} thread{'s' * (each['threads'] > 1)}"
    times = "once" if each["rounds"] == 1 else f"medians of {each['rounds']}"
    return f"{each['device']}, {threads}, torch {each['torch']}, {times}, commit {each['commit'][:7]}"
