"""What docs/performance.md says of peers, from the file that benchmarks/peers.py wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from figures_boards import ROOT


def peers(file: Path = ROOT / "results" / "peers.json") -> str:
    """Every way with its median, and how many times sooner than the first one it is done."""
    if not file.exists():
        return "Not measured yet."
    found = json.loads(file.read_text(encoding="utf-8"))["comparisons"]
    lines = ["| | way | median | ratio | robust |", "| --- | --- | ---: | ---: | ---: |"]
    for each in found:
        what = f"{each['name']}: {each['what']}{', a rehearsal' * each['quick']}"
        for name, way in each["ways"].items():
            robust = ", ".join(map(str, way.get("robust", []))) or "–"
            lines.append(f"| {what} | {name} | {_seconds(way['median'])} | {way['ratio']:.2f} | {robust} |")
            what = ""
        lines += [f"| {what} | {name} | {why} | – | – |" for name, why in each["skipped"].items()]
    return "\n".join([*lines, "", *(f"{said}." for said in dict.fromkeys(map(_machine, found)))])


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 100 else f"{value:.3g} s"


def _machine(each: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in each["versions"].items())
    threads = f"{each['threads']} thread{'s' * (each['threads'] > 1)}"
    return f"{each['device']}, {threads}, commit {each['commit'][:7]}; {versions}"
