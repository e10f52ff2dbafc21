"""tradeoff and cost: what is drawn is what the rows say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from altered_rows import EVERY, measured
from drawn_figures import ODD, check, texts
from matplotlib.text import Text
from measured_entries import ours
from repository import BOARDS

from robench_fire.comparison.interval import interval
from robench_fire.errors import DataError
from robench_fire.figures import points, source
from robench_fire.figures.style import Drawn, picture
from robench_fire.tables.cost_columns import cost as costs
from robench_fire.tables.entries import beside, of_row, published

ENTRIES = source.entries([BOARDS / "all" / "digits"])
FEW = source.entries([BOARDS / "digits"])


def means(drawn: Drawn) -> dict[str, dict[str, object]]:
    return {str(row["method"]): dict(row) for row in drawn.data if row["kind"] == "mean"}


@pytest.mark.parametrize("entries", [ENTRIES, FEW], ids=["every", "few"])
def test_tradeoff_has_the_rows_values(entries: list[points.Entry]) -> None:
    drawn = points.tradeoff(entries)
    check(drawn)
    found = means(drawn)
    assert list(found) == [each.method for each in entries]
    for entry in entries:
        assert entry.row is not None
        assert entry.robust is not None
        known = interval(entry.row, "robust")
        assert known is not None
        mine = found[entry.method]
        assert (mine["clean"], mine["robust"]) == (entry.clean.mean, entry.robust.mean)
        assert (mine["robust_low"], mine["robust_high"]) == (known.low, known.high)
        seeds = [(row["clean"], row["robust"]) for row in drawn.data
                 if row["kind"] == "seed" and row["method"] == entry.method]  # fmt: skip
        assert seeds == [(each["clean"], each["robust"]) for _, each in sorted(entry.row.per_seed.items())]


def test_the_front_is_what_nothing_beats() -> None:
    found = means(points.tradeoff(ENTRIES))
    at = {name: (row["clean"], row["robust"]) for name, row in found.items()}
    best = {name for name, (c, r) in at.items()
            if not any(oc >= c and or_ >= r and (oc, or_) != (c, r) for oc, or_ in at.values())}  # type: ignore[operator]  # fmt: skip
    assert {name for name, row in found.items() if row["pareto"]} == best


def test_what_would_squeeze_the_others_stands_at_the_edge() -> None:
    drawn = points.tradeoff(ENTRIES)
    assert "At the lower edge, with an arrow, and not to scale: Standard (0.0 %)." in drawn.said
    assert 36.1 > drawn.figure.axes[0].get_ylim()[0] > 0  # VAT stands where it is
    assert any("↓ 0.0 %" in text for text in texts(drawn))
    assert means(drawn)["Standard"]["robust"] == 0.0
    assert "At the lower edge" not in points.tradeoff(FEW).said


def test_many_are_numbered_and_few_named() -> None:
    assert f"{len(ENTRIES)}  Standard" in texts(points.tradeoff(ENTRIES))
    named = texts(points.tradeoff(FEW))
    assert {each.method for each in FEW} <= set(named)


def test_published_entries_are_in_the_data_and_few_are_named() -> None:
    entries = source.entries([BOARDS / "cifar10"])
    published = beside(entries)
    drawn = points.tradeoff(entries, published)
    check(drawn)
    grey = [row for row in drawn.data if row["kind"] == "published"]
    assert {(row["method"], row["robust"]) for row in grey} == {
        (each.method, each.robust.mean) for each in published if each.robust
    }
    assert len(set(texts(drawn)) & {each.method for each in published}) <= points.LABELLED


def test_weights_of_others_have_a_point_without_seeds() -> None:
    others = [each for each in published() if each.dataset == "mnist" and each.norm == "Linf"]
    drawn = points.tradeoff(others)
    check(drawn)
    assert [row["kind"] for row in drawn.data] == ["mean"] * len(others)
    with pytest.raises(DataError, match="only rows of ours do"):
        points.cost(others)


def test_times_that_hardly_differ_have_marks() -> None:
    drawn = points.cost([ours("A", per_seed={0: {"clean": 90.0, "robust": 50.0, "train_seconds": 1320.0}})])
    assert [text for text in texts(drawn) if text.endswith(" min")]


def test_one_seed_and_one_method() -> None:
    drawn = points.tradeoff([of_row(measured(EVERY["FIRE"], 90.0, 50.0, spread=[0.0]))])
    check(drawn)
    assert "Of fewer than 5 seeds: FIRE (1)." in drawn.said
    assert means(drawn)["FIRE"]["robust_low"] < 50  # type: ignore[operator]
    check(points.cost([of_row(measured(EVERY["FIRE"], 90.0, 50.0, spread=[0.0]))]))


@pytest.mark.parametrize("many", [1, 2])
def test_names_are_shown_letter_by_letter(many: int) -> None:
    entries = [ours(name, robust=50.0 + 2 * n, clean=80.0 - n) for n, name in enumerate(ODD * many)]
    drawn = points.tradeoff(entries)
    check(drawn)
    assert {row["method"] for row in drawn.data} == set(ODD)
    check(points.cost(entries))


def test_cost_has_device_time_and_goes_by_less_of_it() -> None:
    drawn = points.cost(ENTRIES)
    check(drawn)
    found = means(drawn)
    for entry in ENTRIES:
        seconds = costs(entry).seconds
        assert seconds is not None
        assert found[entry.method]["seconds"] == pytest.approx(seconds.mean)
        assert found[entry.method]["device_kind"] == "CPU"
    quickest = min(ENTRIES, key=lambda entry: found[entry.method]["seconds"])
    assert found[quickest.method]["pareto"] == 1
    assert "core time" in drawn.said


def test_cost_falls_back_to_wall_time_where_devices_differ() -> None:
    row = EVERY["MART"]
    sessions = {seed: [{**each[0], "threads": None}] for seed, each in row.facts["sessions"].items()}
    other = of_row(replace(row, facts=row.facts | {"sessions": sessions}))
    drawn = points.cost([FEW[0], other])
    check(drawn)
    assert "(wall time, AutoAttack accuracy)" in drawn.said
    assert means(drawn)["MART"]["seconds"] == pytest.approx(row.over_seeds("train_seconds").mean)


def test_the_same_board_is_the_same_bytes() -> None:
    one, other = points.tradeoff(FEW), points.tradeoff(source.entries([BOARDS / "digits"]))
    for kind in ("png", "svg", "pdf", "svg"):
        assert picture(one.figure, kind) == picture(other.figure, kind)
    assert one.data == other.data


def test_labels_do_not_cover_each_other() -> None:
    drawn = points.tradeoff([ours(f"method {n}", robust=50.0 + n % 3, clean=80.0 + n) for n in range(9)])
    canvas = drawn.figure.canvas
    drawn.figure.draw_without_rendering()
    boxes = [Text.get_window_extent(each, canvas.get_renderer()) for each in drawn.figure.axes[0].texts]  # type: ignore[attr-defined]
    assert len(boxes) == 9
    for number, box in enumerate(boxes):
        for other in boxes[:number]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            up = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 0 or up <= 0.35 * box.height  # the room above and below letters may be shared
