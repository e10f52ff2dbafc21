"""Tables as text to paste: Markdown, LaTeX, BibTeX; and as data: CSV and JSON."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from robench_fire.boards.model_info import BOARD_KEY, to_model_info
from robench_fire.files import csv_cell
from robench_fire.runs.folders import MORE_DATA
from robench_fire.tables import cost_columns, marks
from robench_fire.tables.columns import NUMBERS, USUAL, Shown, corruptions, union
from robench_fire.tables.entries import BENCHMARK, PUBLISHED, Entry
from robench_fire.tables.table import Table

if TYPE_CHECKING:
    import pandas as pd


def markdown(table: Table) -> str:
    """A GitHub table with its title and footnotes; the best values, and those tied with them, in bold."""
    escaped = table._replace(cells=[[_md(cell) for cell in cells] for cells in table.cells])
    lines = [
        f"**{_md(table.title)}**",
        "",
        "| " + " | ".join(table.columns) + " |",
        "|" + "|".join(" ---: " if column in NUMBERS else " --- " for column in table.columns) + "|",
        *("| " + " | ".join(cells) + " |" for cells in _bold(escaped, "**{}**")),
    ]
    notes = [f"[{number}] {_md(note)}" for number, note in enumerate(table.notes, 1)]
    below = [f"{note}  " for note in [*notes, *map(_md, table.remarks)]]
    return "\n".join([*lines, "", *below]).rstrip() + "\n"


_ACTS = re.compile(r"[\\`|<>$~]|\*(?=[^\s:])|(?<!\w)_|_(?!\w)|(?<=\])(?=[(:\[])|&(?=#?\w+;)")
"""What Markdown acts on: where code, cells, tags, formulas, emphasis and entities begin, and a link's text ends."""


def _line(text: str) -> str:
    return re.sub(r"[\r\n\v\f\x85\u2028\u2029]+", " ", text)


def _md(text: str) -> str:
    """Plain text as Markdown, in one line."""
    return _ACTS.sub(lambda found: f"\\{found[0]}", _line(text))


def _bold(table: Table, style: str) -> list[list[str]]:
    return [
        [style.format(cell) if column in best else cell for column, cell in zip(table.columns, cells, strict=True)]
        for cells, best in zip(table.cells, table.best, strict=True)
    ]


def latex(table: Table) -> str:
    r"""A table environment in booktabs' style, ready to paste; needs ``\usepackage{booktabs}``."""
    import pandas as pd

    escaped = table._replace(cells=[[tex(_line(cell)) for cell in cells] for cells in table.cells])
    frame = pd.DataFrame(_bold(escaped, r"\textbf{{{}}}"), columns=[tex(column) for column in table.columns])
    aligned = "".join("r" if column in NUMBERS else "l" for column in table.columns)
    first = next(entry for entry in table.entries if entry.origin not in (PUBLISHED, BENCHMARK))
    again = f"-seed{first.evaluation_seed}" if first.evaluation_seed else ""
    text: str = frame.to_latex(
        index=False, column_format=aligned, caption=tex(_line(table.title)), escape=False, position="t",
        label="tab:" + re.sub(r"[^\w.-]", "-", f"{first.dataset}-{first.norm}-{first.eps}-{first.examples}{again}"),
    )  # fmt: skip
    notes = [f"[{number}] {tex(_line(note))}" for number, note in enumerate(table.notes, 1)]
    below = "".join(f"\\par {note}\n" for note in [*notes, *(tex(_line(remark)) for remark in table.remarks)])
    if below:
        text = text.replace("\\end{table}", "\\smallskip\n{\\footnotesize\n" + below + "}\n\\end{table}")
    return text.replace("\\begin{table}[t]\n", "\\begin{table}[t]\n\\centering\n", 1)


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "±": r"$\pm$", "–": "--", "ℓ∞": r"$\ell_\infty$",
    "ℓ2": r"$\ell_2$", "≈": r"$\approx$", "×": r"$\times$", "≤": r"$\leq$", "ε": r"$\varepsilon$", "∞": r"$\infty$",
    "α": r"$\alpha$", "β": r"$\beta$", "λ": r"$\lambda$", "θ": r"$\theta$", "σ": r"$\sigma$", "²": r"$^2$",
    "·": r"$\cdot$",
}  # fmt: skip


def tex(text: str) -> str:
    """Plain text as LaTeX."""
    return re.sub("|".join(map(re.escape, sorted(_TEX, key=len, reverse=True))), lambda found: _TEX[found[0]], text)


def bibtex(entries: Iterable[Entry]) -> str:
    """One BibTeX entry per paper, by the key that ``citations`` gives."""
    cited = list(entries)
    papers = dict(zip(citations(cited), cited, strict=True))
    return "\n".join(_cited(key, papers[key]) for key in sorted(papers) if key).rstrip()


def citations(entries: Sequence[Entry]) -> list[str]:
    """What to cite for each entry: RobustBench's key without what follows "_", as that tells one paper's models apart.

    The whole key where the papers of such a key are several; "" where no author is known.
    """
    titles: defaultdict[str, set[str]] = defaultdict(set)
    links: defaultdict[str, set[str]] = defaultdict(set)
    for entry in entries:
        titles[_paper(entry.key)].add(entry.title.casefold())
        links[_paper(entry.key)].add(entry.link)
    several = {key for key in titles if len(titles[key]) > 1 and (len(links[key]) > 1 or links[key] == {""})}
    return [
        "" if not entry.authors else entry.key if _paper(entry.key) in several else _paper(entry.key)
        for entry in entries
    ]


def _paper(key: str) -> str:
    return key.partition("_")[0]


_JOURNALS = {"TPAMI": "IEEE Transactions on Pattern Analysis and Machine Intelligence",
             "TMLR": "Transactions on Machine Learning Research", "Pattern Recognition": "Pattern Recognition",
             "SIMODS": "SIAM Journal on Mathematics of Data Science"}  # fmt: skip


def _cited(key: str, entry: Entry) -> str:
    year = next(iter(re.findall(r"\b(?:19|20)\d\d\b", entry.venue)), "")
    where = re.sub(r"[\s,]*(?:(?:\b[A-Z][a-z]{2}\.?\s+)?(?:19|20)\d\d)\b", "", entry.venue).strip(" ,")
    journal = where in _JOURNALS or where.startswith("arXiv")
    fields = {
        "title": f"{{{_bib(entry.title)}}}",
        "author": _bib(" and ".join(_names(entry.authors))),
        ("journal" if journal else "booktitle"): _bib(_JOURNALS.get(where, where)),
        "year": year,
        "url": link(entry.link),
    }
    if where in ("", "Unpublished", "N/A", "GitHub", "OpenReview"):
        fields["note"] = fields.pop("booktitle")
    kind = "misc" if "note" in fields else "article" if journal else "inproceedings"
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{re.sub(r'[^A-Za-z0-9_:+-]', '-', key)},", *lines, "}", ""])


def _bib(text: str) -> str:
    """Plain text as BibTeX, which counts braces whatever stands before them."""
    return tex(_line(text)).replace(r"\{", r"\textbraceleft{}").replace(r"\}", r"\textbraceright{}")


def link(text: str) -> str:
    """An address of the web as a text that nothing acts on; "" for any other, such as a script's."""
    return quote(text, safe=":/?#[]@!&'()*+,;=%~") if text.lower().startswith(("https://", "http://")) else ""


def _names(authors: str) -> list[str]:
    """RobustBench's lists of authors: "A B, C D and E F", or BibTeX's own "B, A and D, C"."""
    parts = re.split(r"\s+and\s+", authors.strip())
    if len(parts) > 1 and all(re.fullmatch(r"[^,]+,\s*[^,]+", part) for part in parts):
        return parts
    listed = re.sub(r",?\s+et al\.?$", " and others", authors.strip())
    return [name for name in re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+", listed) if name]


def as_json(entries: Sequence[Entry], shown: Shown = USUAL) -> str:
    """RobustBench's model_info of each entry, ours with everything under one extra key; intervals beside it."""
    rows = [to_model_info(entry.row) if entry.row else _plain(entry) for entry in entries]
    if shown.intervals:
        rows = [row | {"intervals": _intervals(entry)} for row, entry in zip(rows, entries, strict=True)]
    return json.dumps({"format": 1, "rows": rows}, indent=2, ensure_ascii=False)


def _plain(entry: Entry) -> dict[str, Any]:
    """model_info of an entry that has no row of ours."""
    known = {
        "autoattack_acc": entry.robust and f"{entry.robust.mean:.2f}",
        "external": None if entry.best_known is None else f"{entry.best_known:.2f}",
        "unreliable": entry.unreliable,
        "footnote": " ".join(entry.notes) or None,
    }
    return {
        "link": entry.link, "name": entry.title, "authors": entry.authors, "additional_data": entry.extra in MORE_DATA,
        "dataset": entry.dataset, "venue": entry.venue, "architecture": entry.architecture, "eps": entry.eps,
        "clean_acc": f"{entry.clean.mean:.2f}", **{name: value for name, value in known.items() if value is not None},
        BOARD_KEY: {"format": 1, "origin": entry.origin, "key": entry.key, "norm": entry.norm, "source": entry.source,
                    "examples": entry.examples},
    }  # fmt: skip


def _intervals(entry: Entry) -> dict[str, dict[str, Any]]:
    found = marks.intervals(entry).items()
    return {marks.MEASURES[name]: {"low": each.low, "high": each.high, "over": each.over} for name, each in found}


def frame(entries: Iterable[Entry], shown: Shown = USUAL) -> pd.DataFrame:
    """Numbers as numbers: a mean and a std column for each measure; what else is shown in columns of its own."""
    import pandas as pd

    entries = list(entries)
    made: pd.DataFrame = pd.DataFrame([_record(entry) for entry in entries])
    made.insert(list(made.columns).index("key") + 1, "citation", citations(entries))
    made = made.astype(dict.fromkeys(("examples", "seeds"), "Int64"))  # which may be empty, and are no fractions
    if shown.per_seed:
        each = pd.Series([entry.seed for entry in entries], dtype="Int64")
        made.insert(list(made.columns).index("seeds"), "seed", each)
    if shown.intervals:
        for name in marks.MEASURES.values():
            for end in ("low", "high"):
                made[f"{name}_{end}"] = [_intervals(entry).get(name, {}).get(end) for entry in entries]
    for column, of in (("union", union), ("corruptions", corruptions)):
        if any(found := [of(entry) for entry in entries]):
            for part in ("mean", "std"):
                made[f"{column}_{part}"] = [getattr(each, part, None) for each in found]
    if shown.cost:
        made = pd.concat([made, pd.DataFrame([cost_columns.numbers(entry) for entry in entries])], axis=1)
    return made


def as_csv(entries: Iterable[Entry], shown: Shown = USUAL) -> str:
    """The frame as text."""
    entries = list(entries)
    made = frame(entries, shown)
    if shown.cost and entries:
        priced = list(cost_columns.numbers(entries[0]))
        made[priced] = made[priced].map(_exact)
    return str(made.map(csv_cell).to_csv(index=False, float_format="%.4f")).rstrip()


def _exact(value: Any) -> Any:
    """A number as text, since four decimals say nothing of an hour per point."""
    return f"{value:.6g}" if isinstance(value, float) and not math.isnan(value) else value


def _record(entry: Entry) -> dict[str, Any]:
    measures = {"clean": entry.clean, "autoattack": entry.robust, "pgd20": entry.pgd20, "average": entry.average,
                "train_seconds": entry.train_seconds}  # fmt: skip
    numbers = {
        f"{name}_{part}": getattr(value, part, None) for name, value in measures.items() for part in ("mean", "std")
    }
    row = entry.row
    return {
        "origin": entry.origin, "dataset": entry.dataset, "norm": entry.norm, "eps": entry.eps,
        "examples": entry.examples or None, "method": entry.method, "key": entry.key,
        "architecture": entry.architecture, "profile": entry.profile,
        "extra_data": entry.extra or "no",
        "seeds": entry.count, **numbers, "best_known": entry.best_known,
        "unreliable": entry.unreliable, "venue": entry.venue, "fingerprint": row.fingerprint if row else "",
        "footnote": " ".join(entry.notes),
    }  # fmt: skip
