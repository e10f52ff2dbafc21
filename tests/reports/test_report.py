"""robench report and robench site: pages that need nothing else, opened in a browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import ran
from measured_entries import BOARD, ours
from repository import BOARDS
from written_runs import write_five

from robench_fire.boards.model_info import find_rows
from robench_fire.boards.rows import Row
from robench_fire.cli import app
from robench_fire.errors import DataError, UsageError
from robench_fire.problem.plan import fingerprint
from robench_fire.problem.settings import to_plain
from robench_fire.reports import site, words
from robench_fire.reports.report import report
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.differences import by_hand
from robench_fire.statistics.summary import MeanStd
from robench_fire.tables.entries import Entry

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ALL = find_rows(BOARDS / "all" / "digits") + find_rows(BOARDS / "cifar10")


class Pieces(HTMLParser):
    """What a page would load, its headings, and the tags it opens and closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        known = dict(attrs)
        self.loads += [known[name] for name in ("src", "xlink:href") if name in known and tag != "use"]
        self.links += [known["href"]] if tag == "a" else []
        if tag not in ("meta", "input", "br", "path", "use", "line", "rect", "circle", "image"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        """Opens and closes."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def digits() -> str:
    return report([BOARDS / "digits"], BOARD, Path())


def test_a_report_says_what_its_board_shows(digits: str) -> None:
    lead = "Madry has the highest accuracy under AutoAttack of the reliable rows, 61.47 ± 5.48 % (95 %, over seeds"
    assert lead in digits
    for row in BOARD:
        assert row.method in digits
    assert "96.27 ± 1.90%" in digits  # the interval, as the remark below the table says
    assert digits.count("<svg") == 2
    assert "currentColor" in digits
    assert "Square, a black-box attack, broke 3 of 172 images" in digits
    assert "robench train trades digits --seeds 0,1,2,3,4 --arch digits-cnn --examples 300" in digits


def test_a_report_needs_nothing_else_and_is_well_formed(digits: str) -> None:
    found = Pieces(digits)
    assert found.open == []
    assert found.loads == []
    assert all(link.startswith("https://") for link in found.links)
    assert "default-src 'none'" in digits
    assert not re.search(r"url\((?!#|data:)", digits)


def test_names_with_markup_are_escaped_everywhere() -> None:
    name = "<script>alert(1)</script> $x_1$ & \\frac"
    text = report([BOARDS / "digits"], [ours(name, 50.0, dataset="digits"), ours("B", 40.0, dataset="digits")], Path())
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $x_1$ &amp; \\frac" in text


def test_rows_without_autoattack_one_seed_and_published_ones_have_a_page() -> None:
    for entries in ([ours("A", attack="pgd20")], [ours("A", spread=[0.0])], [ours("A"), ours("A", dataset="mnist")]):
        assert "<table" in report([BOARDS / "digits"], entries, Path())


def without_masks(method: str, robust: float) -> Entry:
    """Whose accuracies are not those of the masks that it was made from."""
    entry = ours(method, robust)
    assert entry.row is not None
    facts = {name: value for name, value in entry.row.facts.items() if name != "masks"}
    return replace(entry, row=replace(entry.row, facts=facts))


def test_the_lead_says_what_cannot_be_told() -> None:
    near = [without_masks("A", 50.0), without_masks("B", 50.2), without_masks("C", 20.0)]
    assert "A cannot be told from it" in words.lead(near)
    assert "no other row differs from it" in words.lead(near[:2])
    assert near[1].row is not None
    alone = replace(near[1], row=replace(near[1].row, per_seed={0: near[1].row.per_seed[0]}))
    assert words.lead([near[0], alone]).endswith("1 seed, 300 images).")  # the highest, with nothing beside it
    below = replace(alone, robust=MeanStd(49.0, None, 1))
    assert "every other one that can be compared is below it" in words.lead([near[0], below, near[2]])
    assert words.lead([replace(near[0], unreliable=True)]) == ""
    assert words.lead([ours("A", attack="pgd20")]) == ""


@pytest.mark.parametrize("row", ALL, ids=lambda row: f"{row.dataset}-{row.name}-{row.fingerprint}")
def test_the_command_makes_the_same_plan(row: Row) -> None:
    """Read by the command line itself; given weights and files are the user's, and stand as FILE."""
    said = words.command(row).split()
    assert said[:2] == ["robench", "train"]
    if "FILE" not in said:
        assert planned_by(said) == row.fingerprint


def planned_by(said: Sequence[str]) -> str:
    """The fingerprint of the plan that a command trains."""
    found: list[Request] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robench_fire.cli.measure._run", lambda requests, *rest: found.extend(requests))
        app(list(said[1:]), standalone_mode=False)
    (request,) = found
    return fingerprint(compose(request).plan)


@pytest.mark.parametrize(
    "request_",
    [
        Request(defense="trades", dataset="digits", settings=(("--set", "threat.eps", "0.1"),)),
        Request(defense="trades", dataset="digits", settings=(("--set", "claim.eps", "0.1"),)),
        Request(defense="trades", dataset="digits", eps="0.1", settings=(("--set", "threat.eps", "0.15"),)),
        Request(defense="trades", dataset="digits", eps="0.1"),
        Request(
            defense="trades", dataset="digits", hide_labels=True, settings=(("--set", "recipe.extra.hidden", "0.3"),)
        ),
        Request(
            defense="trades",
            dataset="digits",
            profile="modern",
            settings=(("--set", "recipe.label_smoothing", "none"),),
        ),
        Request(defense="fire", dataset="cifar10", profile="official"),
    ],
)
def test_the_command_of_what_is_set_by_hand(request_: Request) -> None:
    composed, first = compose(request_), ALL[0]
    own = first.facts | {"by_hand": by_hand(request_), "usual_eps": {"digits": "0.2"}.get(request_.dataset, "8/255")}
    row = replace(first, plan=to_plain(composed.plan), fingerprint=fingerprint(composed.plan), facts=own)
    assert planned_by(words.command(row).split()) == row.fingerprint


def test_the_command_of_shuffled_images_trains_first() -> None:
    row = replace(ALL[0], facts=ALL[0].facts | {"evaluation_order": "shuffled"})
    first, then = words.command(row).split(" && ")
    assert first.endswith(" --no-eval")
    assert planned_by(first.split()) == row.fingerprint
    assert then == f"robench eval runs/digits/Linf/{row.plan['name']}/{row.fingerprint} --shuffled --examples 300"


def test_run_folders_are_a_report_too(tmp_path: Path) -> None:
    write_five(tmp_path / "runs")
    found = ran(tmp_path, "report", "runs")
    assert found.stdout == "report.html\n"
    assert "report.html exists and is kept" in ran(tmp_path, "report", "runs", code=2).stderr
    ran(tmp_path, "report", "runs", "--force")
    assert "call it other.html" in ran(tmp_path, "report", "runs", "-o", "other.pdf", code=2).stderr
    assert "did you mean fire" in ran(tmp_path, "report", "runs", "--only", "fier", "--force", code=2).stderr
    assert "does not exist" in ran(tmp_path, "report", "nowhere", "--force", code=4).stderr


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a board, and of a part of it."""
    root = tmp_path_factory.mktemp("boards")
    for name, keys in {"digits": "*", "few": "Picot2021*"}.items():
        (root / "boards" / name / "Linf").mkdir(parents=True)
        for path in (BOARDS / "digits" / "Linf").glob(f"{keys}.json"):
            shutil.copy(path, root / "boards" / name / "Linf")
    site.write(root / "boards", root / "site")
    return root / "site"


def test_every_link_of_a_site_leads_somewhere(pages: Path) -> None:
    written = sorted(pages.rglob("*.html"))
    assert len(written) == 1 + 2 + 7 + 2
    for path in written:
        found = Pieces(path.read_text(encoding="utf-8"))
        assert (found.open, found.loads) == ([], [])
        for link in found.links:
            assert link.startswith("https://") or (path.parent / link).exists(), (path, link)


def test_a_rows_downloads_are_the_row(pages: Path) -> None:
    (path,) = (pages / "rows").glob("digits-Linf-Zhang2019Theoretically.json")
    row = next(each for each in find_rows(path) if each.name == "TRADES")
    masks = np.load(path.with_suffix(".npz"), allow_pickle=False)
    assert masks["seeds"].tolist() == sorted(row.per_seed)
    for name in ("clean", "robust"):
        assert 100 * masks[name].mean(1) == pytest.approx([own[name] for _, own in sorted(row.per_seed.items())])
    text = path.with_suffix(".html").read_text(encoding="utf-8")
    assert "94.00 ± 0.41 %" in text
    assert "@inproceedings{Zhang2019Theoretically" in text
    assert json.loads(path.read_text())["clean_acc"] == "94.00"


def test_a_site_is_written_anew_and_nowhere_else(pages: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in sorted(pages.rglob("*.*"))}
    site.write(pages.parent / "boards", pages)
    assert {path: path.read_bytes() for path in sorted(pages.rglob("*.*"))} == before
    (pages.parent / "boards" / "few" / "Linf" / "Picot2021Adversarial.json").unlink()
    written = site.write(pages.parent / "boards", pages)
    assert sorted(written) == sorted(pages.rglob("*.html"))  # what is gone from the boards is gone from the site
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(UsageError, match="holds other files; choose an empty folder"):
        site.write(pages.parent / "boards", tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no board; publish rows first"):
        site.write(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="is no folder"):
        site.write(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs a browser; none of chromium, google-chrome is installed")
@pytest.mark.parametrize(("width", "pages_of"), [(1280, "report"), (390, "report"), (390, "index"), (390, "row")])
def test_pages_fit_their_window_in_a_browser(
    width: int, pages_of: str, digits: str, pages: Path, tmp_path: Path
) -> None:
    """Nothing is wider than the window but what scrolls by itself, and no script fails."""
    files = {"index": pages / "index.html", "row": min((pages / "rows").glob("*.html"))}
    text = digits if pages_of == "report" else files[pages_of].read_text(encoding="utf-8")
    check = "<script>document.title = `${document.documentElement.scrollWidth <= innerWidth}`</script></body>"
    (tmp_path / "page.html").write_text(text.replace("</body>", check), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
               f"--window-size={width},800", "--virtual-time-budget=2000", "--dump-dom"]  # fmt: skip
    command = [str(BROWSER), *options, (tmp_path / "page.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90).stdout
    assert "<title>true</title>" in shown
    assert pages_of == "row" or '<div class="controls">' in shown  # which the script shows
