"""What the pages say of the CIFAR-10 board."""

from __future__ import annotations

from figures_boards import apart, entries, flattered, row

from robench_fire.statistics.summary import MeanStd


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
- FIRE and TRADES cannot be told apart here either: FIRE minus TRADES is, seed by seed, {clean} points of clean accuracy
  and {robust} under AutoAttack (mean ± std over seeds), where [theory](defenses.md#which-distance-which-λ) expects no
  difference of λ = 12 on θ² and β = 6 on KL.
- Self-adaptive labels change nothing that two seeds could show: FIRE+SA minus FIRE is
  {apart("cifar10", "FIRE+SA", "FIRE")} under AutoAttack.
- PGD-20 flatters: by {least[0]:.2f} points for {least[1]}, {most[0]:.2f} for {most[1]}. Compare under
  AutoAttack only."""
