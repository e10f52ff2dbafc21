"""What the pages say of the distances, the fast end and the modern end, beside Madry and TRADES on digits."""

from __future__ import annotations

import json

from figures_boards import ROOT, entries, listed

from robench_fire.boards.labels import chosen, labelled
from robench_fire.boards.model_info import find_rows
from robench_fire.comparison.compare import compare, sentence
from robench_fire.comparison.scores import Metric
from robench_fire.tables.marks import pareto
from robench_fire.tables.published_rows import benchmarks
from robench_fire.tables.render import render

BOARD, L2 = "all/digits", "l2/digits"
FAST = ("Free", "FGSM-RS", "N-FGSM", "GradAlign", "GAT", "NuAT")
DISTANCES = ("FIRE", "Hellinger", "JS", "TV", "IKL")
AGAINST = ("Madry", "TRADES")
PUBLISHED = {"NU-AT": "NuAT", "GAT": "GAT", "N-FGSM": "N-FGSM", "FGSM-RS": "FGSM-RS", "Free-AT": "Free",
             "PGD-AT-WA": "Madry", "PGD-AT": "Madry"}  # fmt: skip
"""Methods here, by the end of their keys in Pan and Yao's table."""
PLAIN = "PGD-AT"
"""The one row there whose weights are not averaged."""
MEASURES: dict[Metric, str] = {"clean": "clean_acc", "robust": "autoattack_acc"}
"""Their columns there."""


def digits_new_methods() -> str:
    """Each against Madry and TRADES."""
    rows, known = labelled(find_rows(ROOT / "leaderboards" / BOARD)), entries(BOARD)
    heads = [f"{said} less {other}'s" for other in AGAINST for said in ("clean", "AutoAttack")]
    lines = [f"| method | {' | '.join(heads)} | train time, s |", "| --- " + "| ---: " * (len(heads) + 1) + "|"]
    names = dict.fromkeys([*DISTANCES[2:], "HAT", *FAST])
    found = {
        (name, other, metric): each
        for other in AGAINST
        for metric in MEASURES
        for name, each in zip(names, compare(chosen(rows, [other, *names]), metric), strict=True)
    }
    for name in names:
        cells = []
        for other in AGAINST:
            for metric in MEASURES:
                each = found[name, other, metric]
                cell = f"{-each.found.value:+.2f} ± {each.found.half:.2f}"
                cells.append(f"**{cell}**" if each.differs else cell)
        lines.append(f"| {name} | {' | '.join(cells)} | {known[name].train_seconds:.1f} |")
    return "\n".join(lines)


def digits_l2_board() -> str:
    """Three methods in L2."""
    return render(list(entries(L2).values()), "md")


def digits_l2_compare() -> str:
    """What compare says of them."""
    rows = labelled(find_rows(ROOT / "leaderboards" / L2))
    pairs = (["madry", "trades"], ["fire", "trades"])
    return "\n".join(f"- {sentence(each)}" for names in pairs for each in compare(chosen(rows, names), "robust"))


def digits_front() -> str:
    """The rows that no other row beats."""
    known = list(entries(BOARD).values())
    front = [each for each, best in zip(known, pareto(known), strict=True) if best]
    front.sort(key=lambda each: each.train_seconds.mean if each.train_seconds else 0.0)
    lines = ["| on the front | clean | AutoAttack | train time, s |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {each.method} | {each.clean} | {each.robust} | {each.train_seconds:.1f} |" for each in front]
    names = {each.method for each in front}
    beaten = [name for name in (*FAST, "HAT", *DISTANCES, *AGAINST) if name not in names]
    return "\n".join(lines) + f"\n\nNot on it, of the methods above: {listed(beaten)}."


def digits_fast_signs() -> str:
    """Pairs of Pan and Yao's means, and whether digits show their sign."""
    rows = labelled(find_rows(ROOT / "leaderboards" / BOARD))
    theirs = {each["key"].partition("_")[2]: each for each in benchmarks()}
    lines = ["| pair | clean, published | clean, digits | AutoAttack, published | AutoAttack, digits |",
             "| --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
    tally = {"yes": 0, "no": 0, "cannot be told": 0}
    for place, (one, mine) in enumerate(keys := list(PUBLISHED.items())):
        for other, its in keys[place + 1 :]:
            if mine == its:
                continue
            cells = []
            for metric, column in MEASURES.items():
                gap = float(theirs[one][column]) - float(theirs[other][column])
                (each,) = compare(chosen(rows, [mine, its]), metric)
                same = "yes" if (each.found.value > 0) == (gap > 0) else "no"
                seen = same if each.differs else "cannot be told"
                tally[seen] += other != PLAIN
                mark = {"yes": " =", "no": " ≠", "cannot be told": ""}[seen]
                cells += [f"{gap:+.2f}", f"{each.found.value:+.2f} ± {each.found.half:.2f}{mark}"]
            besides = ", theirs without averaged weights" if other == PLAIN else ""
            lines.append(f"| {mine} less {its}{besides} | {' | '.join(cells)} |")
    shown, total = tally["yes"] + tally["no"], sum(tally.values())
    return "\n".join(lines) + (
        f"\n\n= the published sign, ≠ the opposite; no mark: digits cannot tell. Of the {total} differences between "
        f"rows with averaged weights digits show {shown}: {tally['yes']} with the published sign, {tally['no']} with "
        "the opposite."
    )


def quick_attack() -> str:
    """What the quick estimate misses of AutoAttack."""
    found = json.loads((ROOT / "results" / "quick-attack.json").read_text(encoding="utf-8"))
    lines = ["| models | how many | gap on average, points | largest gap | share of AutoAttack's seconds, % |",
             "| --- " + "| ---: " * 4 + "|"]  # fmt: skip
    for name, each in [*found["groups"].items(), ("all", found["all"])]:
        cells = f"{each['models']} | {each['mean']:+.2f} | {each['largest']:+.2f} | {100 * each['share']:.1f}"
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)
