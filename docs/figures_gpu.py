"""What docs/performance.md says of GPUs, from the files that benchmarks/gpu.py wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from figures_boards import ROOT

EMPTY = "not measured"
STEPS = [(arch, batch) for batch in (256, 512) for arch in ("resnet-18", "wrn-34-10")]
NAMES = {"resnet-18": "ResNet-18", "wrn-34-10": "WRN-34-10"}
GOALS = {"resnet-18": "3x, MFU 30 %", "wrn-34-10": "3x, MFU 45 %"}

Found = dict[str, Any]


def gpu(folder: Path = ROOT / "results" / "gpu") -> str:
    """What is to be shown, what the goal is, and what each device class showed; then the steps of each."""
    classes = _classes(folder)
    heads = [f"{next(iter(phases.values()))['device']}" for phases in classes.values()] or ["any GPU"]
    lines = [f"| | goal | {' | '.join(heads)} |", f"| --- | --- |{' --- |' * len(heads)}"]
    for what, goal, phase, cell in _rows():
        cells = [_cell(phases.get(phase), cell) for phases in classes.values()] or [EMPTY]
        lines.append(f"| {what} | {goal} | {' | '.join(cells)} |")
    return "\n".join(lines + [part for phases in classes.values() for part in _steps(phases)])


def _classes(folder: Path) -> dict[str, dict[str, Found]]:
    """Phases by device class: of GPUs, and no rehearsals."""
    read = {file.stem: json.loads(file.read_text(encoding="utf-8"))["phases"] for file in sorted(folder.glob("*.json"))}
    real = {name: {key: each for key, each in phases.items() if each["kind"] == "cuda" and not each.get("tiny")}
            for name, phases in read.items()}  # fmt: skip
    return {name: phases for name, phases in real.items() if phases}


def _cell(found: Found | None, cell: Callable[[Found], str]) -> str:
    if found is None or found["state"] in ("skipped", "out of time"):
        return EMPTY
    return cell(found["result"]) if found["state"] == "done" else "failed"


def _rows() -> list[tuple[str, str, str, Callable[[Any], str]]]:
    steps = [
        (f"FIRE, {NAMES[arch]}, batch {batch}", GOALS[arch] if batch == 256 else "–", f"speed-{arch}" + size, _step)
        for arch, batch in STEPS
        for size in ["" if batch == 256 else f"-{batch}"]
    ]
    return [
        ("every module is imported, `doctor`", "–", "environment", lambda found: "yes"),
        ("`pytest -m gpu`, training and devices", "all pass", "tests", _passed),
        ("`pytest -m gpu`, AutoAttack", "all pass", "tests-autoattack", _passed),
        ("killed and resumed, then evaluated", "–", "end-to-end", lambda found: "yes"),
        *steps,
        ("AutoAttack on 512 images, to pyautoattack", "3x, same verdicts", "autoattack", _attack),
        ("five seeds of DigitsCNN together, to one", "1.5x", "together", _together),
        ("two processes train one model", "losses of one", "two-processes", lambda found: found["two"]["backend"]),
        ("100 epochs of TRADES, ResNet-18", "10 min", "row-trades", _hundred),
        ("100 epochs of FIRE, ResNet-18", "–", "row-fire", _hundred),
    ]


def _passed(found: Found) -> str:
    return f"{found['passed']} pass"


def _step(found: Found) -> str:
    if not {"released", "ours bf16"} <= set(found["fire"]):
        return "failed"
    seconds = found["fire"]["ours bf16"]
    mfu = found["FLOPs of an update"] / seconds / found["matmul FLOP/s"]["bf16"]
    rate, ratio = found["batch"] / seconds, found["fire"]["released"] / seconds
    memory = found["peak MB"]["ours bf16"] / 1000
    return f"{ratio:.2f}x, MFU {100 * mfu:.0f} %, {rate:,.0f} images/s, {memory:.1f} GB"


def _attack(found: Found) -> str:
    return f"{found['ratio']:.2f}x, {found['verdicts that differ']} differ"


def _together(found: Found) -> str:
    return f"{median(found['together']) / median(found['one seed']):.2f}x"


def _hundred(found: Found) -> str:
    each = median(row["seconds"] for row in found["curve"])
    return f"{100 * each / 60:.1f} min, from {len(found['curve'])}"


def _steps(phases: dict[str, Found]) -> list[str]:
    """A table of every way to compute a step, for each network and batch that was measured."""
    lines = []
    for name, found in phases.items():
        if name.startswith(("speed-", "compiled-")) and "trades" in (found["result"] or {}):
            result = found["result"]
            what = f"{found['device']}, {NAMES[result['arch']]}, batch {result['batch']}"
            lines += ["", f"| {what} | FIRE | ratio | TRADES | ratio |", "| --- | ---: | ---: | ---: | ---: |"]
            for way in result["fire"]:
                cells = [_times(result[each], way) for each in ("fire", "trades")]
                lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def _times(seconds: dict[str, float], way: str) -> str:
    """Milliseconds, and the ratio to the released step; a way that failed has none."""
    if way not in seconds or "released" not in seconds:
        return "failed | –"
    return f"{1000 * seconds[way]:.1f} ms | {seconds['released'] / seconds[way]:.2f}"
