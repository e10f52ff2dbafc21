"""The page of a leaderboard: what it says, and that nothing in it becomes code."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import NamedTuple

import pytest
from pages import MEASURED, OTHERS, other
from repository import DIGITS_BOARD

from robench_fire.statistics.summary import MeanStd
from robench_fire.tables.entries import REEVALUATED, Entry
from robench_fire.tables.page import page
from robench_fire.tables.table import Table, tables

ROBUSTBENCH = [
    "Rank", "Method", "Standard accuracy", "AutoAttack robust accuracy", "Best known robust accuracy",
    "AA eval. potentially unreliable", "Extra data", "Architecture", "Venue",
]  # fmt: skip


class Seen(NamedTuple):
    text: str
    attributes: dict[str, str | None]
    tags: dict[str, dict[str, str | None]]


class Document(HTMLParser):
    """Rows of cells of every table, and every tag; fails where a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[Seen]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append(Seen("", dict(attrs), {}))
        elif "tr" in self.open and self.rows[-1]:
            self.rows[-1][-1].tags[tag] = dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            cell = self.rows[-1][-1]
            self.rows[-1][-1] = cell._replace(text=" ".join([*cell.text.split(), *data.split()]))

    @property
    def columns(self) -> list[str]:
        return [cell.text for cell in self.rows[0]]

    def column(self, name: str) -> list[Seen]:
        return [row[self.columns.index(name)] for row in self.rows[1:]]


def test_columns_are_those_of_robustbench_then_ours(board: Table) -> None:
    document = Document(page([board]))
    with_average = [*ROBUSTBENCH[:5], "Average", *ROBUSTBENCH[5:]]
    assert document.columns == [*with_average, "Seeds", "Train time"]
    assert all("button" in cell.tags for cell in document.rows[0])
    sorted_by = [cell.attributes.get("aria-sort") for cell in document.rows[0]]
    assert sorted_by == ["ascending"] + [None] * 11
    assert Document(page(list(tables(OTHERS)))).columns == with_average


def numbers(value: MeanStd | None, entry: Entry, measure: str) -> tuple[str, float | None]:
    if value is None:
        return "–", None
    spread = "" if value.std is None else f" ± {value.std:.2f}"
    seeds = entry.row.per_seed if entry.row else {}
    each = "".join(f" seed {seed}: {values[measure]:.2f}" for seed, values in seeds.items())
    return f"{value.mean:.2f}{spread}%{each}", value.mean


def test_numbers_are_the_entries(mixed: Table) -> None:
    document = Document(page([mixed]))
    for number, (entry, row) in enumerate(zip(mixed.entries, document.rows[1:], strict=True)):
        known = entry.best_known or (entry.robust.mean if entry.robust else None)
        seconds = entry.train_seconds
        expected = {
            "Rank": (str(mixed.ranks[number]), mixed.ranks[number]),
            "Standard accuracy": numbers(entry.clean, entry, "clean"),
            "AutoAttack robust accuracy": numbers(entry.robust, entry, "robust"),
            "Best known robust accuracy": ("–" if known is None else f"{known:.2f}%", known),
            "Seeds": ("5", 5) if entry.row else ("–", None),
            "Train time": (f"{seconds:.1f} s", seconds.mean) if seconds else ("–", None),
        }
        shown = dict(zip(document.columns, row, strict=True))
        sort = {name: shown[name].attributes.get("data-sort") for name in expected}
        assert {name: shown[name].text for name in expected} == {name: text for name, (text, _) in expected.items()}
        assert {name: value and float(value) for name, value in sort.items()} == {
            name: value for name, (_, value) in expected.items()
        }


def test_the_values_of_the_seeds_show_on_hover_too(board: Table) -> None:
    document = Document(page([board]))
    for column, measure in (("Standard accuracy", "clean"), ("AutoAttack robust accuracy", "robust")):
        for entry, cell in zip(board.entries, document.column(column), strict=True):
            assert entry.row
            each = [f"seed {seed}: {values[measure]:.2f}" for seed, values in entry.row.per_seed.items()]
            assert cell.tags["summary"]["title"] == ", ".join(each)
            assert "details" in cell.tags


def test_the_best_are_bold(mixed: Table) -> None:
    document = Document(page([mixed]))
    for name, column in (("Clean", "Standard accuracy"), ("AutoAttack", "AutoAttack robust accuracy")):
        bold = ["b" in cell.tags for cell in document.column(column)]
        assert bold == [name in best for best in mixed.best]
        assert any(bold)
        assert not all(bold)


def test_pgd_does_not_pass_for_autoattack() -> None:
    (table,) = tables([replace(MEASURED[0], robust=None, average=None)])
    (cell,) = Document(page([table])).column("AutoAttack robust accuracy")
    assert (cell.text, cell.tags) == ("–", {})


def test_words_of_an_entry(mixed: Table) -> None:
    document = Document(page([mixed]))
    for entry, cell in zip(mixed.entries, document.column("Method"), strict=True):
        badge = ["ours"] if entry.row else [REEVALUATED] if entry.key == "Again2020" else []
        number = mixed.entries.index(entry)
        marks = [f"[{','.join(map(str, mixed.marks[number]))}]"] if mixed.marks[number] else []
        assert cell.text == " ".join([entry.method, *marks, *badge, *([entry.title] * (entry.title != entry.method))])
        assert cell.tags.get("a") == ({"href": entry.link, "rel": "noopener"} if entry.link else None)
    for name in ("architecture", "venue"):
        assert [cell.text for cell in document.column(name.capitalize())] == [
            getattr(entry, name) or "–" for entry in mixed.entries
        ]


def test_signs_are_as_robustbench_has_them_and_can_be_heard(mixed: Table) -> None:
    document = Document(page([mixed]))
    signs = {True: ("☑", "potentially unreliable"), False: ("×", "no sign of unreliability"), None: ("Unknown", None)}
    extras = {"file": ("☑", "uses extra data"), "": ("×", "no extra data"), "hidden": ("hidden labels", None)}

    def said(column: str) -> list[tuple[str, str | None]]:
        return [(cell.text, cell.tags.get("span", {}).get("aria-label")) for cell in document.column(column)]

    assert said("AA eval. potentially unreliable") == [signs[entry.unreliable] for entry in mixed.entries]
    assert said("Extra data") == [extras[entry.extra] for entry in mixed.entries]
    assert {entry.unreliable for entry in mixed.entries} == set(signs)
    assert {entry.extra for entry in mixed.entries} == set(extras)


def test_ours_are_marked_only_among_others(board: Table, mixed: Table) -> None:
    alone, among = page([board]), page([mixed])
    assert not re.search('badge">|"checkbox"|class="ours"', alone.split("<script>")[0])
    assert among.count('<tr class="ours">') == among.count('<span class="badge">ours</span>') == len(MEASURED)
    assert among.count('type="checkbox"') == 1
    assert page([mixed, board, mixed]).count('type="checkbox"') == 2


def test_remarks_and_the_footer(mixed: Table) -> None:
    text = page([mixed, mixed._replace(title="Another <one>", notes=["Note & more."], remarks=["Read & write."])])
    assert ">[1] Note &amp; more.</p>" in text
    assert html.escape(mixed.remarks[0]).replace("&#x27;", "&#39;") in text
    assert ">Another &lt;one&gt;</h2>" in text
    assert ">Read &amp; write.</p>" in text
    assert f"<footer>Made by robench_fire from {2 * len(mixed.entries)} entries</footer>" in text


HOSTILE = '"><img src=x onerror=alert(1)></td>'


@pytest.mark.parametrize(
    ("link", "becomes"),
    [
        *((link, []) for link in ("javascript:alert(1)", " JavaScript:1", "data:text/html,<b>", "//a.org", "file:///")),
        (f"https://example.org/{HOSTILE}", [f"https://example.org/{HOSTILE}"]),
    ],
)
def test_nothing_in_an_entry_becomes_code(link: str, becomes: list[str]) -> None:
    facts = dict.fromkeys(("method", "venue", "architecture"), HOSTILE)
    entry = other("Mallory2020", 90.0, 50.0, title="<script>alert(1)</script>", link=link, notes=(HOSTILE,), **facts)
    (table,) = tables([entry])
    document = Document(page([table._replace(title=HOSTILE, remarks=[HOSTILE])]))
    assert [tag for tag, _ in document.tags].count("script") == 1
    assert "img" not in {tag for tag, _ in document.tags}
    assert [attributes["href"] for tag, attributes in document.tags if tag == "a"] == becomes
    assert not any(name.startswith("on") for _, attributes in document.tags for name in attributes)
    (cell,) = document.column("Method")
    assert cell.text == f"{HOSTILE} [1] <script>alert(1)</script>"


def test_the_page_loads_nothing(mixed: Table) -> None:
    text = page([mixed])
    tags = Document(text).tags
    assert not {tag for tag, _ in tags} & {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [attributes for _, attributes in tags if {"src", "srcset", "style", "background"} & set(attributes)]
    addresses = {attributes["href"] for _, attributes in tags if "href" in attributes}
    assert addresses == {entry.link for entry in mixed.entries if entry.link}
    style, script = (re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[0] for tag in ("style", "script"))
    assert not re.search(r"url\(|@import|http|//\w", style)
    assert not re.search(r"fetch|XMLHttp|import|http|innerHTML|eval", script)
    assert "default-src 'none'" in text


@pytest.mark.slow
def test_pages_are_equal_byte_for_byte_and_need_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from robench_fire.tables.entries import entries_in;"
        "from robench_fire.tables.page import page; from robench_fire.tables.table import tables;"
        "assert 'jinja2' not in sys.modules;"
        "text = page(list(tables(entries_in([Path(sys.argv[1])]))));"
        "assert not {'torch', 'pandas'} & set(sys.modules); sys.stdout.buffer.write(text.encode())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code, str(DIGITS_BOARD)],
            env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True,
        ).stdout
        for seed in "12"
    }  # fmt: skip
    assert seen == {page(list(tables(MEASURED))).encode()}
