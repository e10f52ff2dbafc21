"""reproduce and claims: a board beside what was published."""

from __future__ import annotations

import json as jsonlib
import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from robench_fire.cli.common import options as o
from robench_fire.cli.common.console import plain
from robench_fire.errors import DisagreesError
from robench_fire.runs.evaluations import ATTACK_NAMES

if TYPE_CHECKING:
    from robench_fire.comparison.claims import Verdict
    from robench_fire.comparison.reproduce import Reproduction

WIDE = 110  # columns from which the published figures stand beside the verdicts
Board = Annotated[Path, typer.Argument(readable=False, help="A board or run folders, like leaderboards/digits/Linf.")]
Radius = Annotated[str, typer.Option(help="Rows that claim this radius instead of the plan's, like 0.031.")]


def reproduce(board: Board, eps: Radius = "", json: o.Json = False) -> None:
    """Rows beside what the papers and RobustBench report. Exit code 7: a figure that compares is another one."""
    from robench_fire.comparison import reproduce as reproducing
    from robench_fire.comparison.compare import rows_at

    rows = rows_at([board], eps)
    found = reproducing.reproduce(rows)
    if json:
        print(jsonlib.dumps({"format": 1, "figures": [reproducing.as_plain(each) for each in found]}, indent=2))
    else:
        for line in reproduced(found, plain().width) or _nothing({f"{row.dataset} {row.norm}" for row in rows}):
            print(line)
    outside = [each for each in found if each.outcome == "different"]
    if outside:
        first, count = outside[0], sum(each.outcome != "not comparable" for each in found)
        raise DisagreesError(f"{len(outside)} of {count} figures that compare differ from what was published, like "
                             f"{first.row.name}'s {first.measure} accuracy ({first.source})")  # fmt: skip


def _nothing(settings: Iterable[str]) -> list[str]:
    return [f"Nothing is published of these methods for {' or '.join(sorted(settings))}."]


def reproduced(found: Sequence[Reproduction], width: int) -> list[str]:
    """The lines of a comparison with published figures: reasons are numbered, and follow at the end."""
    if not found:
        return []
    reasons = list(dict.fromkeys(reason for each in found for reason in each.reasons))

    def numbers(wanted: Iterable[str]) -> str:
        return "".join(f"[{number}]" for number in sorted(reasons.index(reason) + 1 for reason in wanted))

    lines = [f"{'':12}{'ours':>13}{'published':>15}{'difference':>11}{'tolerance':>10}"]
    for (name, source), group in groupby(found, key=lambda each: (each.row.name, each.source)):
        measures = list(group)
        shared = [reason for reason in measures[0].reasons if all(reason in each.reasons for each in measures)]
        lines += ["", f"{name} beside {source} {numbers(shared)}".rstrip()]
        for each in measures:
            what = each.measure if each.measure == "clean" else ATTACK_NAMES[each.row.attack]
            tolerance = "–" if each.tolerance is None else f"{each.tolerance:.2f}"
            own = numbers(reason for reason in each.reasons if reason not in shared)
            lines.append(f"  {what:10}{f'{each.ours}':>13}{f'{each.theirs}':>15}{each.difference:>+11.2f}"
                         f"{tolerance:>10} {each.outcome}{own}")  # fmt: skip
    notes = list(dict.fromkeys(note for each in found for note in each.notes))
    numbered = [f"[{number}] Not comparable because of {reason}." for number, reason in enumerate(reasons, 1)]
    counts = [f"{sum(each.outcome == name for each in found)} {name}" for name in OUTCOMES]
    last = [", ".join(counts) + ". Tolerance: twice the spread of a training and of the choice of images."]
    return [*lines, "", *_wrapped([*numbered, *notes, *last], width)]


OUTCOMES = ("reproduced", "different", "not comparable")


def claims(board: Board, eps: Radius = "", json: o.Json = False) -> None:
    """What the FIRE paper claims of methods, decided on a board: confirmed, refuted, or cannot be told."""
    from robench_fire.comparison import claims as deciding
    from robench_fire.comparison.compare import rows_at
    from robench_fire.comparison.fire_claims import FIRE_CLAIMS

    found = deciding.decide(FIRE_CLAIMS, rows_at([board], eps))
    if json:
        print(jsonlib.dumps({"format": 1, "verdicts": [deciding.as_plain(each) for each in found]}, indent=2))
        return
    for setting in dict.fromkeys(each.setting for each in found if each.setting):
        _print(setting, [each for each in found if each.setting == setting])
    for line in _left(found, plain().width):
        print(line)


def _print(setting: str, found: list[Verdict]) -> None:
    """The verdicts of one setting as a table, and what a reader must know of them."""
    from robench_fire.comparison.claims import needed, notes, size

    console = plain()
    remarks = list(dict.fromkeys(note for each in found for note in notes(each)))
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    wide = console.width >= WIDE
    drawn.add_column("Claim")
    for column in ("Here (95 %)", *(["p (Holm)"] if wide else []), "Seeds"):
        drawn.add_column(column, justify="right", no_wrap=True)
    drawn.add_column("Verdict")
    if wide:
        drawn.add_column("Published")
    for each in found:
        numbers = "".join(f"[{remarks.index(note) + 1}]" for note in notes(each))
        cells = [each.claim.says, size(each), *([p_value(each.adjusted)] if wide else []), needed(each)]
        cells += [f"{each.outcome} {numbers}".strip(), *([each.claim.published] if wide else [])]
        drawn.add_row(*cells)
    console.print(setting, style="bold")
    console.print(drawn)
    why = [f"{each.claim.name}: {each.why}." for each in found if each.why]
    said = [f"[{number}] {note}" for number, note in enumerate(remarks, 1)]
    for line in _wrapped([*why, *said], console.width):
        print(line)
    print()


def p_value(value: float | None) -> str:
    """In three places."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _left(found: Sequence[Verdict], width: int) -> list[str]:
    """What is not on the board, how to read the tables, and how many claims came out how."""
    from robench_fire.comparison.claims import OUTCOMES as ALL

    absent = [f"{each.claim.says} ({each.why})" for each in found if each.outcome == ALL[-1] and not each.setting]
    counts = ", ".join(f"{sum(each.outcome == name for each in found)} {name}" for name in ALL)
    read = ("Here: points; of times, a ratio; of λ, points per doubling. Seeds: so many of each row would by "
            "themselves settle a value like this, 4 times of 5.")  # fmt: skip
    return _wrapped([f"Not on this board: {'; '.join(absent)}."] * bool(absent) + [read, f"{counts}."], width)


def _wrapped(paragraphs: Iterable[str], width: int) -> list[str]:
    wrap = textwrap.TextWrapper(width, subsequent_indent="    ", break_on_hyphens=False)
    return [line for text in paragraphs for line in wrap.wrap(text) or [""]]
