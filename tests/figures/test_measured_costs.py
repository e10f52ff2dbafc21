"""The scripts and the tables of how cost grows and of what peers take: what is fitted, left out and said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from figures_growth import growth
from figures_peers import peers
from repository import ROOT

MACHINE = {"device": "a processor", "threads": 2, "commit": "0123456789"}


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts that find each other in their folder."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in ("growth", "step_meters", "peer_ways", "peer_ways.turns"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_an_exponent_is_the_power(benchmarks: None) -> None:
    from growth import slope  # type: ignore[import-not-found]

    assert slope([1, 10, 100], [3.0, 30.0, 300.0]) == pytest.approx(1)
    assert slope([2, 4, 8], [5.0, 20.0, 80.0]) == pytest.approx(2)


def test_ways_take_turns_and_a_peer_that_is_missing_is_named(benchmarks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from peer_ways import turns  # type: ignore[import-not-found]

    monkeypatch.setattr(turns, "missing", lambda module: module == "art")
    order: list[str] = []

    def way(name: str, seconds: float) -> object:
        return lambda: order.append(name) or turns.Outcome(seconds, 3)

    ways = {"theirs": way("theirs", 4.0), "others": way("others", 1.0), "ours": way("ours", 2.0)}
    told = turns.compared(turns.Comparison("PGD", "a batch", lambda: ways, {"others": "art"}), 2)
    assert order == ["theirs", "ours", "theirs", "ours"]
    assert told["skipped"] == {"others": "adversarial-robustness-toolbox is not installed"}
    assert told["ways"]["ours"] == {"seconds": [2.0, 2.0], "median": 2.0, "ratio": 2.0, "robust": [3]}


def test_the_table_of_peers(tmp_path: Path) -> None:
    assert peers(tmp_path / "none.json") == "Not measured yet."
    ways = {"theirs": {"median": 3.0, "ratio": 1.0, "robust": [7]}, "ours": {"median": 1.5, "ratio": 2.0}}
    about = {"name": "PGD", "what": "a batch", "skipped": {"others": "not installed"}, "versions": {"torch": "2"}}
    (tmp_path / "peers.json").write_text(json.dumps({"comparisons": [about | MACHINE | {"ways": ways, "quick": True}]}))
    lines = peers(tmp_path / "peers.json").splitlines()
    assert lines[2:5] == [
        "| PGD: a batch, a rehearsal | theirs | 3 s | 1.00 | 7 |", "|  | ours | 1.5 s | 2.00 | – |",
        "|  | others | not installed | – | – |",
    ]  # fmt: skip
    assert lines[-1] == "a processor, 2 threads, commit 0123456; torch 2."


def test_the_table_of_growth(tmp_path: Path) -> None:
    values = {
        "seconds": [0.5, 123.4],
        "MB": [40.0, 80.0],
        "exponents of seconds": [0.4, 1],
        "exponents of MB": [0, 0.1],
    }
    axis = {"what": "rows", "stays": "a table", "sizes": [10, 1000], "torch": "2", "rounds": 3} | values | MACHINE
    (tmp_path / "growth.json").write_text(json.dumps({"axes": {"rows": axis}}))
    lines = growth(tmp_path / "growth.json").splitlines()
    assert lines[2] == "| rows, 10 to 1,000 | a table | 0.5 to 123 s | 0.40, 1.00 | 40 to 80 MB | 0.00, 0.10 |"
    assert lines[-1] == "a processor, 2 threads, torch 2, medians of 3, commit 0123456."
