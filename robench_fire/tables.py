"""Tables in RobustBench's columns, for a terminal, Markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from robench_fire import model_info
from robench_fire.files import write_text
from robench_fire.leaderboard import SEEDS, Row
from robench_fire.stats import MeanStd, mean_std

FORMATS = ("terminal", "md", "csv", "json", "latex")
_NUMBERS = {"Clean", "AutoAttack", "PGD-20", "Average", "Train time", "#", "Seeds", "FIRE paper", "RobustBench"}


class Table(NamedTuple):
    """Rows that may be compared with each other, as text."""

    title: str
    columns: list[str]
    cells: list[list[str]]
    notes: list[str]


def tables(rows: Iterable[Row], paper: bool = False) -> Iterator[Table]:
    """One table per data set, norm, radius, number of test images and evaluation seed: only such rows compare."""

    def setting(row: Row) -> tuple[str, str, str, int, int]:
        return row.dataset, row.norm, row.eps, row.examples, row.evaluation_seed

    for _, group in groupby(sorted(rows, key=setting), key=setting):
        yield _table(sorted(group, key=lambda row: (row.attack, -row.over_seeds("robust").mean)), paper)


def _table(rows: Sequence[Row], paper: bool) -> Table:
    first = rows[0]
    title = f"{first.dataset}, {first.norm}, eps {first.eps}, {first.examples:,} test images"
    if first.evaluation_seed:
        title += f", evaluation seed {first.evaluation_seed}"
    without_aa, profiles = any(row.attack != "aa" for row in rows), {row.profile for row in rows}
    columns = ["#", "Method", "Architecture", "Clean", "AutoAttack", *(["PGD-20"] if without_aa else []), "Average",
               "Seeds", "Train time", "Extra data", *(["Profile"] if profiles != {"matched"} else []),
               *(["FIRE paper", "RobustBench"] if paper else [])]  # fmt: skip
    notes: list[str] = []
    cells = []
    for rank, row in enumerate(rows, 1):
        values = _values(rank, row, notes)
        cells.append([values[column] for column in columns])
    return Table(title, columns, cells, [f"[{number}] {note}" for number, note in enumerate(notes, 1)])


def _values(rank: int, row: Row, notes: list[str]) -> dict[str, str]:
    """Every column's text; a footnote is numbered when it is first needed."""
    marks = []
    for note in row.footnotes():
        if note not in notes:
            notes.append(note)
        marks.append(notes.index(note) + 1)
    aa = row.attack == "aa"
    return {
        "#": str(rank),
        "Method": row.paper["method"] + (f" [{','.join(map(str, sorted(marks)))}]" if marks else ""),
        "Architecture": row.architecture,
        "Clean": f"{row.over_seeds('clean')}",
        "AutoAttack": f"{row.over_seeds('robust')}" if aa else "–",
        "PGD-20": f"{_pgd20(row)}" if row.pgd20 else "–",
        "Average": f"{row.average}" if aa else "–",
        "Seeds": str(len(row.per_seed)) + ("" if len(row.per_seed) >= SEEDS else f"/{SEEDS}"),
        "Train time": _duration(row.over_seeds("train_seconds")),
        "Extra data": {"file": "yes", "hidden": "hidden labels"}.get(row.extra, "no"),
        "Profile": row.profile,
        "FIRE paper": _reported(row, "FIRE"),
        "RobustBench": _reported(row, "RobustBench"),
    }


def _pgd20(row: Row) -> MeanStd:
    return mean_std([value for _, value in sorted(row.pgd20.items())])


def _duration(seconds: MeanStd) -> str:
    if seconds.mean < 120:
        return f"{seconds:.1f} s"
    scaled = 3600 if seconds.mean >= 2 * 3600 else 60
    unit = "h" if scaled == 3600 else "min"
    spread = None if seconds.std is None else seconds.std / scaled
    return f"{MeanStd(seconds.mean / scaled, spread, seconds.n):.1f} {unit}"


def _reported(row: Row, source: str) -> str:
    """Clean / robust of what ``source`` published, with its radius or network where they are not the row's."""
    each = row.published(source)
    if each is None:
        return "–"
    at = f" at {each['eps']}" if each["eps"] else ""
    other = f" ({each['arch']})" if each["arch"] != row.plan["recipe"]["arch"] else ""
    return f"{each['clean']:.2f} / {each['robust']:.2f}{at}{other}"


def terminal(table: Table, console: Console) -> RenderableType:
    """For rich. Where the table is too wide, the spread goes below its mean, so that no number is ever cut."""
    drawn = _drawn(table, narrow=False)
    if console.measure(drawn, options=console.options.update(width=1000)).maximum > console.width:
        drawn = _drawn(table, narrow=True)
    notes = (Text(note, style="dim") for note in table.notes)
    return Group(Text(table.title, style="bold"), drawn, *notes)


def _drawn(table: Table, narrow: bool) -> RichTable:
    drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0 if narrow else 1, 0, 0))
    for column in table.columns:
        number = column in _NUMBERS
        header = column.replace(" ", "\n").replace("Archi", "Archi-\n") if narrow else column
        fixed = number or column == "Method"
        drawn.add_column(header, justify="right" if number else "left", no_wrap=fixed, overflow="fold")
    for cells in table.cells:
        drawn.add_row(*(Text(_broken(cell) if narrow else cell) for cell in cells))
    return drawn


def _broken(cell: str) -> str:
    return cell.replace(" ± ", "\n± ").replace(" / ", "\n/ ").replace(" at ", "\nat ")


def markdown(table: Table) -> str:
    """A GitHub table with its title and footnotes."""
    lines = [
        f"**{table.title}**",
        "",
        "| " + " | ".join(table.columns) + " |",
        "|" + "|".join(" ---: " if column in _NUMBERS else " --- " for column in table.columns) + "|",
        *("| " + " | ".join(cells) + " |" for cells in table.cells),
    ]
    return "\n".join([*lines, "", *(f"{note}  " for note in table.notes)]).rstrip() + "\n"


def render(rows: Sequence[Row], style: str, paper: bool = False) -> str:
    """Rows as text: md, csv, json or latex."""
    if style == "json":
        return json.dumps(
            {"format": 1, "rows": [model_info.to_model_info(row) for row in rows]}, indent=2, ensure_ascii=False
        )
    if style == "csv":
        return _csv(rows).rstrip()
    draw = markdown if style == "md" else _latex
    return "\n".join(draw(table) for table in tables(rows, paper)).rstrip()


def _latex(table: Table) -> str:
    import pandas as pd

    frame = pd.DataFrame(table.cells, columns=table.columns)
    aligned = "".join("r" if column in _NUMBERS else "l" for column in table.columns)
    escaped = frame.map(_tex).rename(columns=_tex)
    text: str = escaped.to_latex(index=False, column_format=aligned, caption=_tex(table.title), escape=False)
    return text + "".join(f"% {note}\n" for note in table.notes)


def _csv(rows: Iterable[Row]) -> str:
    """Numbers as numbers: a mean and a std column for each measure."""
    import pandas as pd

    return str(pd.DataFrame([_record(row) for row in rows]).to_csv(index=False, float_format="%.4f"))


def _record(row: Row) -> dict[str, Any]:
    measures = {
        "clean": row.over_seeds("clean"),
        "autoattack": row.over_seeds("robust") if row.attack == "aa" else None,
        "pgd20": _pgd20(row) if row.pgd20 else None,
        "average": row.average if row.attack == "aa" else None,
        "train_seconds": row.over_seeds("train_seconds"),
    }
    numbers = {
        f"{name}_{part}": getattr(value, part, None) for name, value in measures.items() for part in ("mean", "std")
    }
    return {
        "dataset": row.dataset,
        "norm": row.norm,
        "eps": row.eps,
        "examples": row.examples,
        "method": row.paper["method"],
        "key": row.paper["key"],
        "architecture": row.architecture,
        "profile": row.profile,
        "extra_data": row.extra or "no",
        "seeds": len(row.per_seed),
        **numbers,
        "fingerprint": row.fingerprint,
        "footnote": " ".join(row.footnotes()),
    }


def _tex(text: Any) -> str:
    for plain, tex in (("\\", r"\textbackslash{}"), ("&", r"\&"), ("%", r"\%"), ("#", r"\#"), ("_", r"\_")):
        text = text.replace(plain, tex)
    return str(text.replace(" ± ", r" $\pm$ ").replace("–", "--"))


def publish(rows: Iterable[Row], board: Path) -> list[Path]:
    """Write rows to a board, and beside each of its folders the Markdown table of everything in it."""
    written = model_info.publish(rows, board)
    pages = []
    for folder in dict.fromkeys(path.parent for path in written):
        pages.append(folder.with_suffix(".md"))
        write_text(pages[-1], render(model_info.rows_in(folder), "md") + "\n")
    return written + pages


def show(rows: Sequence[Row], style: str, paper: bool, console: Console) -> None:
    """Print rows to ``console`` in one of FORMATS."""
    if style == "terminal":
        for table in tables(rows, paper):
            console.print(terminal(table, console))
    else:
        console.file.write(render(rows, style, paper) + "\n")
