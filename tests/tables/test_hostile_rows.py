"""Whatever stands in a row is shown as it is, and nothing acts on it: each format, read by another reader."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from measured_entries import ours
from repository import ROOT
from rich.console import Console

from robench_fire.files import csv_cell
from robench_fire.tables.entries import Entry
from robench_fire.tables.render import render, show
from robench_fire.tables.table import tables

TEXTS = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</td></table><b>", "&lt;script&gt;", "<!-- ",
    "{{ 7 * 7 }}",
    "a|b", "`rm -rf`", "[a](javascript:alert(1))", "![a](http://a.org/x.png)", "[x]: http://a.org", "**a** _b_ ~~c~~",
    "a\nb | c", "# a", "$x^2$", "<http://a.org>", "\\", "\\|",
    "\\input{/etc/passwd}", "\\write18{ls}", "100 % sure", "} \\end{table}", "a_b & c # d ^ e ~ f",
    '=HYPERLINK("http://a.org")', "+cmd|' /C calc'!A0", "-1+1", "@SUM(1+1)", "\t=1", "\r=1", " =1", "＝1+1", 'a,"b";c',
    "[red]a[/red]", ":smile:", "\x1b[31mred\x1b[0m", "\x1b]8;;http://a.org\x07", "a\rb", "\x9b31m", "a\u202eb", "\x00",
]  # fmt: skip
LINK = "https://example.org/paper"


def hostile(text: str) -> Entry:
    """An entry with the text in every field that a stranger could fill."""
    fields = dict.fromkeys(("method", "title", "authors", "venue", "architecture", "source"), text)
    return replace(ours(), **fields, link=text, notes=(text, f"a note {text}"), reported={"FIRE paper": text})


def plain() -> Entry:
    fields = dict.fromkeys(("method", "title", "authors", "venue", "architecture", "source"), "x")
    return replace(ours(), **fields, link=LINK, notes=("x", "a note x"), reported={"FIRE paper": "x"})


def in_a_line(text: str) -> str:
    return " ".join(text.split())


class Tags(HTMLParser):
    """How often each tag and attribute is there, and every text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.links: list[str | None] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen += [tag, *(f"{tag} {name}" for name, _ in attrs)]
        self.links += [value for name, value in attrs if name == "href"]

    def handle_comment(self, data: str) -> None:
        self.seen.append("comment")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("text", TEXTS)
def test_html(text: str) -> None:
    found, usual = (Tags(render([entry], "html")) for entry in (hostile(text), plain()))
    without_link = [each for each in usual.seen if not re.match(r"a( |$)|small$", each)]
    assert [each for each in found.seen if each != "small"] == without_link
    assert found.links == []
    if text.isprintable():
        assert any(text in each for each in found.texts)


@pytest.mark.parametrize("text", TEXTS)
def test_markdown(text: str) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    found, usual = (reader.parse(render([entry], "md")) for entry in (hostile(text), plain()))

    def kinds(tokens: list[object]) -> list[str]:
        listed = [inner for token in tokens for inner in (token, *(token.children or ()))]  # type: ignore[attr-defined]
        return [each.type for each in listed if each.type != "text" and each.type != "text_special"]  # type: ignore[attr-defined]

    assert kinds(found) == kinds(usual)  # type: ignore[arg-type]
    cells = [token.children or [] for token in found if token.type == "inline"]
    shown = ["".join(each.content for each in inner).strip() for inner in cells]
    if text.isprintable():
        assert any(each.startswith(in_a_line(text)) for each in shown)


def unescaped(text: str) -> str:
    """LaTeX without what is shown as a sign."""
    signs = r"\\(textbackslash|textasciicircum|textasciitilde|textbraceleft|textbraceright)\{\}|\\[&%#_${}]"
    return re.sub(signs, "", text)


@pytest.mark.parametrize("text", TEXTS)
def test_latex(text: str) -> None:
    found, usual = (
        unescaped(
            render(
                [entry],
                "latex",
            )
        )
        for entry in (hostile(text), plain())
    )
    for sign in ("%", "&", "{", "}", "#", "\n"):
        assert found.count(sign) == usual.count(sign), sign
    commands = [re.findall(r"\\[A-Za-z]+|\\.", each) for each in (found, usual)]
    assert commands[0] == commands[1]


@pytest.mark.parametrize("text", TEXTS)
def test_bibtex(text: str) -> None:
    found = render([hostile(text)], "bibtex")
    assert found.count("@") - in_a_line(text).count("@") * 3 <= 1
    assert found.count("{") == found.count("}")
    assert re.match(r"@\w+\{[A-Za-z0-9_:+-]+,\n(  \w+ = \{.*\},\n)+\}$", found)
    assert "javascript" not in (re.search(r"url = \{(.*)\}", found) or [""])[0]


@pytest.mark.parametrize("text", TEXTS)
def test_csv(text: str) -> None:
    rows = list(csv.reader(io.StringIO(render([hostile(text)], "csv"), newline="")))
    assert len(rows) == 2
    assert len(rows[0]) == len(rows[1])
    made = dict(zip(*rows, strict=True))
    assert made["method"].removeprefix("'") == text.replace("\r", "\n")
    for cell in rows[1]:
        assert not re.match(r"[=+@\t\r]|-(?!\d+(\.\d+)?$)", cell), cell


@pytest.mark.parametrize(
    ("cell", "made"),
    [("-1.5", "-1.5"), ("+3", "+3"), ("-1e-05", "-1e-05"), (-1.5, -1.5), ("-", "'-"), ("a=b", "a=b"), (None, None)],
)
def test_numbers_of_a_csv_stay(cell: object, made: object) -> None:
    assert csv_cell(cell) == made


@pytest.mark.parametrize("text", TEXTS)
def test_terminal(text: str) -> None:
    out = io.StringIO()
    show([hostile(text)], "terminal", Console(file=out, width=400, color_system=None, force_terminal=True), wide=True)
    found = out.getvalue()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", found)
    if text.isprintable():
        assert text.strip() in found
    elif "\x1b" in text:
        assert "\\x1b" in found


@pytest.mark.parametrize("text", TEXTS)
def test_json(text: str) -> None:
    entry = hostile(text)
    (row,) = json.loads(render([replace(entry, row=None, origin="a checkpoint, our evaluation")], "json"))["rows"]
    assert (row["name"], row["link"], row["venue"]) == (text, text, text)


def test_each_field_reaches_each_format() -> None:
    """What is tried above is shown at all."""
    (table,) = tables([hostile("zzz")])
    assert "zzz" in table.cells[0][table.columns.index("Method")]
    for style in ("html", "md", "latex", "csv"):
        assert render([hostile("zzz")], style).count("zzz") >= 3


def test_the_page_says_how_many_there_are() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert f"**{len(TEXTS)} hostile texts**" in page
