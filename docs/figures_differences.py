"""What the pages say of differences, and of how far the statistics hold."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

from figures_boards import ROOT, entries

from robench_fire.boards.labels import chosen, labelled
from robench_fire.boards.model_info import find_rows
from robench_fire.comparison.compare import compare, measured, sentence
from robench_fire.comparison.scores import Metric, scores
from robench_fire.comparison.until import block_size
from robench_fire.evaluation.evaluator import shuffled
from robench_fire.statistics.paired import holm
from robench_fire.statistics.sequential import interval
from robench_fire.tables.columns import Shown
from robench_fire.tables.render import render


def digits_compare() -> str:
    """What compare says of pairs of the digits board."""
    rows = find_rows(ROOT / "leaderboards" / "digits")
    pairs = (["fire", "trades"], ["madry", "fire"], ["fire_sa", "fire"])
    return "\n".join(f"- {sentence(each)}" for names in pairs for each in compare(chosen(rows, names), "robust"))


def digits_intervals() -> str:
    """The digits board with 95 % intervals."""
    return render(list(entries("digits").values()), "md", Shown(intervals=True))


def cifar10_intervals() -> str:
    """The CIFAR-10 board with 95 % intervals, which are over its two seeds alone."""
    return render(list(entries("cifar10").values()), "md", Shown(intervals=True))


def cifar10_compare() -> str:
    """What compare says of pairs of the CIFAR-10 board."""
    rows = find_rows(ROOT / "leaderboards" / "cifar10")
    (each,) = compare(chosen(rows, ["fire", "trades"]), "robust")
    return f"- {sentence(each)}"


def cifar10_standing() -> str:
    """Which differences between methods the CIFAR-10 board shows."""
    return _standing("cifar10")


def digits_standing() -> str:
    """Which differences between methods the digits board shows."""
    return _standing("digits")


def _standing(board: str) -> str:
    """Of each method, those that it is shown to be above and below: all pairs of a board, with Holm's correction."""
    rows = labelled(find_rows(ROOT / "leaderboards" / board))
    rows.sort(key=lambda row: -row.over_seeds("robust").mean)
    pairs = list(combinations(rows, 2))
    shown: dict[tuple[str, str, str], list[str]] = {}
    widths: dict[str, list[float]] = {}
    metrics: tuple[Metric, ...] = ("robust", "clean")
    for metric in metrics:
        made = [measured(one, other, metric)[0] for one, other in pairs]
        widths[metric] = sorted(each.half for each in made)
        for (one, other), each, p in zip(pairs, made, holm([each.p for each in made]), strict=True):
            above, below = (one, other) if each.value > 0 else (other, one)
            if p < 0.05:
                shown.setdefault((metric, above.name, "above"), []).append(below.name)
                shown.setdefault((metric, below.name, "below"), []).append(above.name)
    columns = [(metric, side) for metric in widths for side in ("above", "below")]
    lines = ["| | AutoAttack: above | AutoAttack: below | clean: above | clean: below |", "| --- " * 5 + "|"]
    for row in rows:
        cells = (", ".join(shown.get((metric, row.name, side), [])) or "–" for metric, side in columns)
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    robust, clean = widths.values()
    return "\n".join([
        *lines, "",
        f"All {len(pairs)} pairs, over seeds and images, with Holm's correction among them, 5 %. The 95 % interval of",
        f"a pair by itself is ± {robust[0]:.2f} to {robust[-1]:.2f} points of AutoAttack and ± {clean[0]:.2f} to "
        f"{clean[-1]:.2f} of clean accuracy.",
    ])  # fmt: skip


SIGNS = (  # method, the one it is compared with, what is published of the two (AutoAttack), and the sign of that
    ("Standard", "Madry", "94.78 / 0.00 against 87.14 / 44.04 (RobustBench, other networks)", "below"),
    ("Hellinger", "TRADES", "50.52 against 50.47 (FIRE, Tables 3 and 1)", "above"),
    ("Hellinger", "FIRE", "50.52 against 51.45 (FIRE, Table 3)", "below"),
    ("Overfitting", "Madry", "51.72 against 44.07 (FIRE, Table 2)", "above"),
    ("Madry-AWP", "Madry", "53.97 against 44.04 (AWP's README, RobustBench)", "above"),
    ("TRADES-AWP", "TRADES", "56.17 against 53.08 (RobustBench)", "above"),
    ("MART-AWP", "MART", "above, in the AWP paper", "above"),
    ("RST-AWP", "RST-adv", "60.04 against 59.53 (RobustBench, 500,000 extra images)", "above"),
    ("FIRE-AWP", "FIRE", "nothing: a combination of ours", ""),
    ("MART+RST", "RST-adv", "56.69 against 59.69 (FIRE, Table 2)", "below"),
    ("FIRE+RST", "RST-adv", "59.97 against 59.69 (FIRE, Table 2)", "above"),
    ("UAT", "RST-adv", "56.03 against 59.53 (RobustBench, other networks)", "below"),
    ("Pre-training", "Madry", "54.92 against 44.04 (RobustBench)", "above"),
    ("ARR-KL", "TRADES", "no number: its text breaks off", ""),
    ("ARR-L2", "TRADES", "no number: its text breaks off", ""),
    ("VAT", "TRADES", "no robust accuracy", ""),
)


def digits_all_signs() -> str:
    """What papers say of pairs, and whether digits show it."""
    rows = labelled(find_rows(ROOT / "leaderboards" / "all" / "digits"))
    lines = [
        "| method | against | published | on digits, points of AutoAttack | shown |",
        "| --- | --- | --- | ---: | --- |",
    ]
    for method, other, said, sign in SIGNS:
        (each,) = compare(chosen(rows, [method, other]), "robust")
        found = each.found
        seen = ("above" if found.value > 0 else "below") if each.differs else ""
        shown = "cannot be told" if not seen else "–" if not sign else "yes" if seen == sign else "no, the opposite"
        lines.append(f"| {method} | {other} | {said} | {found.value:+.2f} ± {found.half:.2f} | {shown} |")
    return "\n".join(lines)


def coverage() -> str:
    """How often the interval of compare holds the truth."""
    settings = json.loads((ROOT / "results" / "coverage.json").read_text(encoding="utf-8"))["settings"]
    lines = [
        "| images | view | skill | seeds | coverage, % | false alarms, % | half width, points |",
        "| ---: " * 7 + "|",
    ]
    cases = sorted({(each["images"], each["method"], each["seed"], each["seeds"]) for each in settings})
    for case in cases:
        own = {
            each["gap"] > 0: each for each in settings
            if (each["images"], each["method"], each["seed"], each["seeds"]) == case
        }  # fmt: skip
        images, view, skill, seeds = case
        held = (own[False]["coverage"] + own[True]["coverage"]) / 2
        lines.append(
            f"| {images:,} | {view} | {skill} | {seeds} | {held:.1f} | {own[False]['alarms']:.1f} "
            f"| {own[False]['half_width']:.2f} |"
        )
    return "\n".join(lines)


def sequential() -> str:
    """How often the truth leaves the confidence sequence of compare --until, and how many images that takes."""
    settings = json.loads((ROOT / "results" / "sequential.json").read_text(encoding="utf-8"))["settings"]
    lines = [
        "| images | seeds | difference | truth left out, % | sign known after | `--until` | stops after |",
        "| ---: " * 7 + "|",
    ]
    lines += [
        f"| {each['images']:,} | {each['seeds']} | {each['gap']:g} | {each['left_out']:.1f} | {_sign(each)} "
        f"| {each['until']:g} | {each['used']:,.0f} |"
        for each in settings
    ]
    wide = [each for each in settings if each["images"] == 10_000]
    ours, theirs = ([each[name] / each["fixed"] for each in wide] for name in ("half", "paper"))
    return "\n".join(lines) + (
        f"\n\nAfter a quarter of 10,000 images the sequence is {min(ours):.2f} to {max(ours):.2f} times as wide as an "
        f"interval\nthat one may look at once; with the paper's own bets it is {min(theirs):.2f} to {max(theirs):.2f} "
        "times as wide."
    )


def _sign(each: dict[str, Any]) -> str:
    return f"{each['sign']:,.0f}" if each["gap"] and each["sign"] < each["images"] else "–"


def digits_until() -> str:
    """What compare --until would have taken of the images of the digits board."""
    rows, lines = find_rows(ROOT / "leaderboards" / "digits"), []
    for names in (["madry", "fire"], ["madry", "rst_adv"], ["fire", "trades"]):
        pair = chosen(rows, names)
        one, other = (scores(each, "robust") for each in pair)
        assert one is not None
        assert other is not None
        found = (one.mean(0) - other.mean(0))[shuffled(0, len(one[0]))]
        for end in range(block_size(len(found)), len(found) + 1, block_size(len(found))):
            low, high = interval(found[:end], len(found))
            if (decided := low > 0 or high < 0) or (high - low) / 2 <= 4:
                break
        why = "which is above is decided" if decided else "known to within 4 points"
        lines.append(
            f"- {pair[0].name} − {pair[1].name}: {found[:end].mean():+.2f} points after {end} of "
            f"{len(found)} images ({low:.2f} to {high:.2f}), {why}. On all of them it is {found.mean():+.2f}."
        )
    return "\n".join(lines)
