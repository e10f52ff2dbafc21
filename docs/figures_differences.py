"""What the pages say of differences, and of how far the statistics hold."""

from __future__ import annotations

import json

from figures_boards import ROOT

from robench_fire.boards.labels import chosen, labelled
from robench_fire.boards.model_info import find_rows
from robench_fire.comparison.compare import compare, sentence


def digits_compare() -> str:
    """What compare says of pairs of the digits board."""
    rows = find_rows(ROOT / "leaderboards" / "digits")
    pairs = (["fire", "trades"], ["madry", "fire"], ["fire_sa", "fire"])
    return "\n".join(f"- {sentence(each)}" for names in pairs for each in compare(chosen(rows, names), "robust"))


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
