"""Defense files of a user, and plug-ins."""

from __future__ import annotations

from pathlib import Path

OWN = '''"""Mine: half of Madry's loss."""

from dataclasses import dataclass
from typing import Literal

from robench_fire.problem.defense import Defense, Paper
from robench_fire.losses import cross_entropy

PAPER = Paper(key="Me2026Mine", method="Mine", title="Mine", authors="Me", venue="none", link="none")


@dataclass(frozen=True, kw_only=True)
class Mine(Defense):
    """weight CE(z', y)."""

    weight: float = 0.5
    how: Literal["plain", "fancy"] = "plain"

    def inner(self, views):
        return cross_entropy(views.adv, views.target)

    def outer(self, views):
        return {"adversarial": self.weight * cross_entropy(views.adv, views.target)}


DEFENSE = Mine()
'''


def own(folder: Path, text: str = OWN, name: str = "mine.py") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)
