"""The measured figures in README.md and docs/*.md, from the files that hold them.

A figure stands in one place: a board's JSON under leaderboards/, or a file under results/. Pages quote it between
``<!-- figures: NAME -->`` and ``<!-- /figures -->``; ``python docs/figures.py`` writes what stands there, and a test
fails where a page is out of step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from robench_fire.comparison.compare import compare, sentence
from robench_fire.comparison.scores import chosen, scores
from robench_fire.comparison.until import block_size
from robench_fire.evaluation.evaluator import shuffled
from robench_fire.statistics.sequential import interval
from robench_fire.statistics.summary import MeanStd, mean_std
from robench_fire.tables.entries import Entry, entries_in
from robench_fire.tables.model_info import find_rows
from robench_fire.tables.render import render
from robench_fire.tables.rows import Row

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARK = re.compile(r"(<!-- figures: ([\w-]+) -->\n)(.*?)(<!-- /figures -->)", re.DOTALL)


@cache
def entries(board: str) -> dict[str, Entry]:
    """The rows of a board by method."""
    return {each.method: each for each in entries_in([ROOT / "leaderboards" / board])}


def row(board: str, method: str) -> Row:
    """One row of a board."""
    found = entries(board)[method].row
    assert found is not None
    return found


def apart(board: str, one: str, other: str, measure: str = "robust") -> MeanStd:
    """The difference of two methods, seed by seed."""
    mine, its = row(board, one).per_seed, row(board, other).per_seed
    return mean_std([mine[seed][measure] - its[seed][measure] for seed in mine])


def flattered(board: str) -> list[tuple[float, str]]:
    """By how much PGD-20 overestimates AutoAttack's accuracy of each method, least first."""
    found = [(each.pgd20.mean - each.robust.mean, each.method) for each in entries(board).values()
             if each.pgd20 and each.robust]  # fmt: skip
    return sorted(found)


def verdicts(board: str) -> dict[str, list[str]]:
    """ "METHOD seed K" of every evaluation, by its verdict."""
    found: dict[str, list[str]] = {}
    for method in entries(board):
        for seed, each in row(board, method).facts["verdicts"].items():
            found.setdefault(each["verdict"], []).append(f"{method} seed {seed}")
    return found


def listed(words: list[str]) -> str:
    """A, B and C."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def digits_board() -> str:
    """The board as a table."""
    return render(list(entries("digits").values()), "md")


def digits_trades() -> str:
    """What the radius of digits leaves of TRADES."""
    trades = entries("digits")["TRADES"]
    return f"On the committed board TRADES reaches {trades.clean} % clean and {trades.robust} % under AutoAttack."


def digits_reliability() -> str:
    """How many evaluations of the board are believed."""
    found = verdicts("digits")
    count = sum(map(len, found.values()))
    doubtful = found.get("unreliable", [])
    why = f"{listed(doubtful)}: Square broke images that the gradient attacks had left" if doubtful else "–"
    head = "| model | verdict | why |\n| --- | --- | --- |\n"
    said = f"{len(found['reliable'])} reliable, {len(doubtful)} unreliable"
    return f"{head}| the seven defenses on digits, 5 seeds each ({count} models, eps 0.2) | {said} | {why} |"


def digits_conclusions() -> str:
    """What the board supports."""
    board, robust = "digits", {name: each.robust.mean for name, each in entries("digits").items() if each.robust}
    rest = [value for name, value in robust.items() if name != "Madry"]
    least, most = flattered(board)[0], flattered(board)[-1]
    found = verdicts(board)
    accurate = mean_std([each["accuracy"] for each in row(board, "RST-adv").facts["labeller"].values()])
    return f"""\
- {len(found["reliable"])} evaluations are judged reliable. In {listed(found["unreliable"])} Square
  broke more images that the gradient attacks had left than AutoAttack's own rule allows; the checks are in
  [evaluation.md](evaluation.md#reliability).
- The pseudo-labels of RST-adv's hidden half were right in {accurate} % of the cases.

What can be concluded:

- The harness works end to end, and its radius is informative: nothing is near 0 or 100 %.
- Madry is ahead of the others under AutoAttack on this data set: {apart(board, "Madry", "FIRE")} points before
  FIRE, seed by seed (same seeds, same test images), and ahead in clean accuracy too. Which of the others is better
  cannot be told: their means lie within {max(rest) - min(rest):.1f} points of each other, with a spread of about 2
  points per row.
- FIRE and TRADES are the same here: {apart(board, "FIRE", "TRADES")} points of robust accuracy apart, seed by seed, and
  {apart(board, "FIRE", "TRADES", "clean")} points of clean accuracy. That is what [theory says](defenses.md)
  of λ = 12 on θ² and β = 6 on KL at small shifts.
- The self-adaptive labels change nothing that five seeds could show: FIRE+SA minus FIRE is
  {apart(board, "FIRE+SA", "FIRE")} points.
- RST-adv has seen half of the labels. Its row says what self-training makes of them; it is not the published method.
- PGD-20 overestimates robust accuracy by {least[0]:.2f} points ({least[1]}) to {most[0]:.2f} points
  ({most[1]}). Compare methods under AutoAttack only."""


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


def digits_all_board() -> str:
    """Every method on digits."""
    return render(list(entries("all/digits").values()), "md")


def digits_all_signs() -> str:
    """What papers say of pairs, and whether digits show it."""
    rows = find_rows(ROOT / "leaderboards" / "all" / "digits")
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


def digits_attacks() -> str:
    """Each attack by itself, of the methods that all of them were run on."""
    known = [each for each in entries("all/digits").values() if each.alone("square")]
    return render(known, "md", attacks=True)


def digits_features() -> str:
    """How far PGD-20 moves features, and how many images a linear classifier of them still gets right."""
    found = json.loads((ROOT / "results" / "digits-features.json").read_text(encoding="utf-8"))
    lines = ["| method | moved | linear probe, clean, % | linear probe, perturbed, % |", "| --- | ---: | ---: | ---: |"]
    for method, means in found.items():
        moved, clean, adv = (MeanStd(**means[name]) for name in ("moved", "separable_clean", "separable_perturbed"))
        lines.append(f"| {method} | {moved:.3f} | {clean} | {adv} |")
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
            f"- {pair[0].paper['method']} − {pair[1].paper['method']}: {found[:end].mean():+.2f} points after {end} of "
            f"{len(found)} images ({low:.2f} to {high:.2f}), {why}. On all of them it is {found.mean():+.2f}."
        )
    return "\n".join(lines)


def cifar10_beside_the_paper() -> str:
    """The CIFAR-10 board and what the paper reports."""
    lines = ["| | clean | AutoAttack | PGD-20 | paper: clean | paper: AutoAttack |", "| --- |" + " ---: |" * 5]
    for method in ("Madry", "TRADES", "MART", "Self-Adaptive", "FIRE", "FIRE+SA", "RST-adv"):
        each, paper = entries("cifar10")[method], row("cifar10", method).published("FIRE")
        theirs = (
            [MeanStd(paper[name], paper[f"{name}_std"], 5) for name in ("clean", "robust")] if paper else ["–", "–"]
        )
        name = method + ", hidden labels" * (each.extra == "hidden")
        lines.append(
            "| " + " | ".join(f"{cell}" for cell in [name, each.clean, each.robust, each.pgd20, *theirs]) + " |"
        )
    return "\n".join(lines)


def cifar10_conclusions() -> str:
    """What the seeds of the CIFAR-10 board say of pairs."""
    least, most = flattered("cifar10")[0], flattered("cifar10")[-1]
    clean, robust = (apart("cifar10", "FIRE", "TRADES", measure) for measure in ("clean", "robust"))
    return f"""\
- FIRE and TRADES do the same here, too: FIRE minus TRADES is, seed by seed, {clean} points of clean accuracy and
  {robust} under AutoAttack. That is what λ = 12 on θ² and β = 6 on KL should do
  ([defenses.md](defenses.md#which-distance-which-λ)).
- Self-adaptive labels change nothing that two seeds could show: FIRE+SA minus FIRE is
  {apart("cifar10", "FIRE+SA", "FIRE")} under AutoAttack.
- PGD-20 flatters: by {least[0]:.2f} points for {least[1]}, {most[0]:.2f} for {most[1]}. Compare under
  AutoAttack only."""


def digits_transfer() -> str:
    """Every defense against images made on every other; AutoAttack's row is the board's."""
    found = json.loads((ROOT / "results" / "digits-transfer.json").read_text(encoding="utf-8"))
    methods = sorted(entries("digits"))
    lines = ["| perturbed on | " + " | ".join(methods) + " |", "| --- |" + " ---: |" * len(methods)]
    for label, values in [*found["transfer"].items(), ("Square alone", found["alone"]["square"])]:
        cells = [f"{MeanStd(values[name]['mean'], values[name]['std'], 5):.1f}" for name in methods]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    board = " | ".join(f"{entries('digits')[name].robust:.1f}" for name in methods)
    return "\n".join([*lines, f"| AutoAttack | {board} |", "", _transfer_says(found, methods)])


def _transfer_says(found: dict[str, Any], methods: list[str]) -> str:
    """Ranges over targets: what another defense's images leave more than AutoAttack, and what Square does."""
    aa = {name: row("digits", name).over_seeds("robust").mean for name in methods}
    more = {name: [found["transfer"][source][name]["mean"] - aa[name] for source in methods] for name in methods}
    every = [value for values in more.values() for value in values]
    spread = [max(values) - min(values) for values in more.values()]
    square = [found["alone"]["square"][name]["mean"] - aa[name] for name in methods]
    return f"""\
What it says: transfer from any defense leaves {min(every):.1f} to {max(every):.1f} points more than AutoAttack on the
target itself, and the source changes that by {min(spread):.1f} to {max(spread):.1f} points. Square alone, which sees
logits only, comes within {min(square):.1f} to {max(square):.1f} points of AutoAttack. No target is weaker against a
black box than against the white box."""


def hellinger_row() -> str:
    """The worked example's row."""
    return render(entries_in([ROOT / "results" / "digits" / "Linf" / "Picot2021Hellinger.json"]), "md")


BLOCKS: dict[str, Callable[[], str]] = {
    made.__name__.replace("_", "-"): made
    for made in (digits_board, digits_trades, digits_reliability, digits_conclusions, digits_transfer,
                 cifar10_beside_the_paper, cifar10_conclusions, hellinger_row, digits_compare, coverage,
                 sequential, digits_until,
                 digits_all_board, digits_all_signs, digits_attacks, digits_features)
}  # fmt: skip
"""What stands between the marks, by the name in them."""


def written(text: str) -> str:
    """A page with every block as its files give it.

    Raises:
        KeyError: for a name that is none of BLOCKS.
    """
    return MARK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]().rstrip()}\n{found[4]}", text)


if __name__ == "__main__":
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        if (after := written(before)) != before:
            page.write_text(after, encoding="utf-8")
            print(page.relative_to(ROOT))
