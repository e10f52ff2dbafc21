"""What the pages say of the digits boards."""

from __future__ import annotations

import json
from typing import Any

from figures_boards import ROOT, apart, entries, flattered, listed, row, verdicts

from robench_fire.statistics.summary import MeanStd, mean_std
from robench_fire.tables.columns import Shown
from robench_fire.tables.entries import entries_in
from robench_fire.tables.render import render


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
- Madry is ahead of each of the others under AutoAttack on this data set: {apart(board, "Madry", "FIRE")} points before
  FIRE, seed by seed (same seeds, same test images), and ahead in clean accuracy too. Which of the others is better
  cannot be told: their means lie within {max(rest) - min(rest):.1f} points of each other, with a spread of about 2
  points per row. Asked about all pairs at once, which is a harder question, less is shown; the second table below.
- FIRE and TRADES cannot be told apart here: seed by seed they differ by {apart(board, "FIRE", "TRADES")} points of
  robust accuracy (mean ± std over seeds; [the interval](statistics.md#comparing-two-rows) is wider) and
  {apart(board, "FIRE", "TRADES", "clean")} of clean accuracy. [Theory](defenses.md#which-distance-which-λ) expects no
  difference of λ = 12 on θ² and β = 6 on KL at small shifts.
- The self-adaptive labels change nothing that five seeds could show: FIRE+SA minus FIRE is
  {apart(board, "FIRE+SA", "FIRE")} points.
- RST-adv has seen half of the labels. Its row says what self-training makes of them; it is not the published method.
- PGD-20 overestimates robust accuracy by {least[0]:.2f} points ({least[1]}) to {most[0]:.2f} points
  ({most[1]}). Compare methods under AutoAttack only."""


def digits_all_board() -> str:
    """Every method on digits."""
    return render(list(entries("all/digits").values()), "md")


def digits_attacks() -> str:
    """Each attack by itself, of the methods that all of them were run on."""
    known = [each for each in entries("all/digits").values() if each.alone("square")]
    return render(known, "md", shown=Shown(attacks=True))


def digits_features() -> str:
    """How far PGD-20 moves features, and how many images a linear classifier of them still gets right."""
    found = json.loads((ROOT / "results" / "digits-features.json").read_text(encoding="utf-8"))
    lines = ["| method | moved | linear probe, clean, % | linear probe, perturbed, % |", "| --- | ---: | ---: | ---: |"]
    for method, means in found.items():
        moved, clean, adv = (MeanStd(**means[name]) for name in ("moved", "separable_clean", "separable_perturbed"))
        lines.append(f"| {method} | {moved:.3f} | {clean} | {adv} |")
    return "\n".join(lines)


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
