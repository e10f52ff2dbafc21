"""The page of a leaderboard: what it says, and that it sorts and filters in a browser."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from repository import DIGITS_BOARD

from robench_fire.statistics.summary import MeanStd
from robench_fire.tables import table as table_module
from robench_fire.tables.entries import PUBLISHED, REEVALUATED, Entry, entries_in
from robench_fire.tables.page import page
from robench_fire.tables.table import Table, tables

MEASURED = entries_in([DIGITS_BOARD])
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ROBUSTBENCH = [
    "Rank", "Method", "Standard accuracy", "AutoAttack robust accuracy", "Best known robust accuracy",
    "AA eval. potentially unreliable", "Extra data", "Architecture", "Venue",
]  # fmt: skip


def one(value: float) -> MeanStd:
    return MeanStd(value, None, 1)


def other(key: str, clean: float, robust: float | None, **facts: Any) -> Entry:
    """A published entry that compares with those of the board."""
    first = MEASURED[0]
    given = {
        "method": key, "title": f"On {key}", "link": f"https://example.org/{key}", "authors": "A. Author",
        "venue": "ICML 2019", "architecture": "WideResNet-34-10", "source": "RobustBench", "unreliable": False,
    }  # fmt: skip
    return Entry(
        origin=PUBLISHED, key=key, clean=one(clean), robust=None if robust is None else one(robust),
        dataset=first.dataset, norm=first.norm, eps=first.eps, **{**given, **facts},
    )  # fmt: skip


OTHERS = [
    other("Deep2021", 97.34, 66.1, best_known=65.2, extra="file", unreliable=True, architecture="WideResNet-106-16"),
    other("Wide2020", 88.34, 56.5, venue="", unreliable=None, notes=("Uses another radius.", "Not by us.")),
    other("Small2019", 9.02, 51.25, architecture="", link=""),
    other("Clean2018", 98.5, None, venue="arXiv, Oct 2018"),
]


@pytest.fixture(scope="module")
def board() -> Table:
    """Entries of ours alone."""
    (found,) = tables(MEASURED)
    return found


@pytest.fixture(scope="module")
def mixed() -> Table:
    """Entries of ours, published ones and one of published weights that were evaluated here."""
    again = replace(OTHERS[1], origin=REEVALUATED, key="Again2020", method="Again2020", examples=300, clean=one(88.1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_module, "beside", lambda entries: OTHERS)
        (found,) = tables([*MEASURED, again], published=True)
    return found


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


DRIVER = """
<script>
const press = (name) => {
  const found = [...document.querySelectorAll("thead th")].find((each) => each.textContent === name);
  found.querySelector("button").click();
  return found.getAttribute("aria-sort");
};
const shown = () => [...document.querySelectorAll("tbody tr")].filter((row) => row.checkVisibility())
  .map((row) => row.querySelector("th").textContent.trim().split(/\\s/)[0]);
const type = (words) => {
  const field = document.querySelector("[type=search]");
  field.value = words;
  field.dispatchEvent(new Event("input"));
  return [shown(), document.querySelector("output").value];
};
const result = document.createElement("pre");
result.id = "result";
result.textContent = JSON.stringify((() => { STEPS })());
document.body.append(result);
</script>
</body>"""


@pytest.fixture
def browse(tmp_path: Path) -> Any:
    """Opens a page in a browser, as a file, and gives what the steps return there."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"needs a browser to run the page; none of {', '.join(BROWSERS)} is installed")

    def run(text: str, steps: str) -> Any:
        path = tmp_path / "page.html"
        path.write_text(text.replace("</body>", DRIVER.replace("STEPS", steps)), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        options += ["--window-size=500,800", "--virtual-time-budget=3000", "--dump-dom"]
        ran = subprocess.run([browser, *options, path.as_uri()], capture_output=True, text=True, timeout=60)
        found = re.search('<pre id="result">(.*?)</pre>', ran.stdout, re.DOTALL)
        assert found, f"the steps failed in the page: {ran.stderr[-500:]}"
        return json.loads(html.unescape(found[1]))

    return run


def by_clean(table: Table, sign: int) -> list[str]:
    return [entry.method for entry in sorted(table.entries, key=lambda entry: sign * entry.clean.mean)]


def test_sorting_by_a_number(mixed: Table, browse: Any) -> None:
    steps = """
      const begun = shown();
      const name = "Standard accuracy";
      const sorted = () => [...document.querySelectorAll("[aria-sort]")].map((each) => each.textContent);
      return [begun, press(name), shown(), press(name), shown(), sorted(), press("Rank"), shown()];"""
    begun, first, down, second, up, sorted_by, third, again = browse(page([mixed]), steps)
    assert begun == [entry.method for entry in mixed.entries]
    assert (first, second, third) == ("descending", "ascending", "ascending")
    assert down == by_clean(mixed, -1)
    assert up == by_clean(mixed, 1)
    assert sorted_by == ["Standard accuracy"]
    assert sorted(again) == sorted(begun)
    ranks = dict(zip(begun, mixed.ranks, strict=True))
    assert [ranks[method] for method in again] == sorted(mixed.ranks)


def test_what_is_missing_comes_last_either_way(mixed: Table, browse: Any) -> None:
    steps = """
      const last = (name) => [press(name), shown().at(-1), press(name), shown().at(-1)];
      return [last("AutoAttack robust accuracy"), last("Architecture"), last("Train time")];"""
    robust, architecture, time = browse(page([mixed]), steps)
    assert robust == ["descending", "Clean2018", "ascending", "Clean2018"]
    assert architecture == ["ascending", "Small2019", "descending", "Small2019"]
    assert time[0::2] == ["ascending", "descending"]
    assert not {time[1], time[3]} & {entry.method for entry in MEASURED}


def test_words_are_sorted_as_people_do_and_ties_stay(mixed: Table, browse: Any) -> None:
    steps = """
      press("Standard accuracy");
      press("Architecture");
      const up = shown();
      press("Architecture");
      return [up, shown()];"""
    up, down = browse(page([mixed]), steps)
    ours = [method for method in by_clean(mixed, -1) if method in {entry.method for entry in MEASURED}]
    wide = ["Clean2018", "Wide2020", "Again2020"]  # all 34-10: in the order of the sort before
    assert up == [*ours, *wide, "Deep2021", "Small2019"]  # 106 after 34
    assert down == ["Deep2021", *wide, *ours, "Small2019"]


def test_filtering(mixed: Table, browse: Any) -> None:
    steps = 'return ["WIDEresnet", "arxiv 34  wide", "34", "fisher-rao", "unknown", "average", " "].map(type);'
    wide, several, number, title, sign, heading, everything = browse(page([mixed]), steps)
    count = len(mixed.entries)
    nets = [entry.method for entry in mixed.entries if "WideResNet" in entry.architecture]
    assert wide == [nets, f"{len(nets)} of {count} shown"]
    assert several == [["Clean2018"], f"1 of {count} shown"]
    assert set(number[0]) == {"Clean2018", "Wide2020", "Again2020"}  # WideResNet-34-10, not 97.34 %
    assert set(title[0]) == {"FIRE", "FIRE+SA"}
    assert set(sign[0]) == {"Wide2020", "Again2020"}
    assert heading == [[], f"0 of {count} shown"]
    assert everything == [[entry.method for entry in mixed.entries], f"{count} of {count} shown"]


def test_only_ours(mixed: Table, browse: Any) -> None:
    steps = """
      const box = document.querySelector("[type=checkbox]");
      box.click();
      const ours = [shown(), document.querySelector("output").value];
      const some = type("neurips");
      type("");
      box.click();
      return [ours, some, shown().length];"""
    ours, some, everything = browse(page([mixed]), steps)
    mine = [entry.method for entry in mixed.entries if entry.row]
    assert ours == [mine, f"{len(mine)} of {len(mixed.entries)} shown"]
    assert some[0] == [entry.method for entry in mixed.entries if entry.row and "NeurIPS" in entry.venue]
    assert everything == len(mixed.entries)


def test_each_table_has_its_own_controls_and_none_widens_the_page(board: Table, mixed: Table, browse: Any) -> None:
    steps = """
      const [first, second] = document.querySelectorAll("section");
      type("mart");
      const counts = [first, second].map((each) => each.querySelector("output").value);
      const visible = first.querySelector(".controls").checkVisibility();
      return [counts, visible, document.documentElement.scrollWidth <= window.innerWidth];"""
    text = page([board, mixed])
    assert text.count('<div class="controls" hidden>') == 2  # where no script runs they would do nothing
    counts, visible, fits = browse(text, steps)
    assert counts == [f"1 of {len(board.entries)} shown", f"{len(mixed.entries)} of {len(mixed.entries)} shown"]
    assert visible
    assert fits
