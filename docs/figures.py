"""The measured figures in README.md and docs/*.md, and scripts that they show, from the files that hold them.

A figure stands in one place: a board's JSON under leaderboards/, or a file under results/; a script in its own file.
Pages quote it between ``<!-- figures: NAME -->`` and ``<!-- /figures -->``; ``python docs/figures.py`` writes what
stands there, and a test fails where a page is out of step.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import figures_attacks
import figures_cifar10
import figures_claims
import figures_clusters
import figures_differences
import figures_digits
import figures_gpu
import figures_growth
import figures_methods
import figures_peers
import figures_plots
import figures_reliability
import figures_sweep
import figures_theory
import figures_training
from figures_boards import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARK = re.compile(r"(<!-- figures: ([\w-]+) -->\n)(.*?)(<!-- /figures -->)", re.DOTALL)
MODULES = (
    figures_digits,
    figures_cifar10,
    figures_differences,
    figures_sweep,
    figures_claims,
    figures_theory,
    figures_plots,
    figures_reliability,
    figures_clusters,
    figures_gpu,
    figures_growth,
    figures_peers,
    figures_training,
    figures_methods,
    figures_attacks,
)
BLOCKS: dict[str, Callable[[], str]] = {
    name.replace("_", "-"): made
    for module in MODULES
    for name, made in vars(module).items()
    if callable(made) and made.__module__ == module.__name__ and not name.startswith("_")
}
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
