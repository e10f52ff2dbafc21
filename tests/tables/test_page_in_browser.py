"""The page of a leaderboard sorts and filters in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pages import MEASURED

from robench_fire.tables.page import page
from robench_fire.tables.table import Table

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


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
