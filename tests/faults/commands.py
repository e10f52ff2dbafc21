"""The commands that are interrupted, small enough to end within a second or two, and what each begins with."""

from __future__ import annotations

from typing import NamedTuple

CORE = ("madry", "trades", "mart", "self_adaptive", "rst_adv", "fire", "fire_sa")
QUICK = "--set recipe.attack.steps=2 --set recipe.attack.step=0.1"
DRIFTING = "--set defense.targets.start=0.3"  # so that labels of one's own have moved when they are saved
ATTACK = "--attack aa --examples 12 --batch-size 6"


class Command(NamedTuple):
    """``kind``: train, eval, bench or publish; ``name``: what is trained, attacked or written.

    ``words``: command lines that come to the same, one of which is drawn; ``before``: those that made what it begins
    with, one after the other; ``single``: it works in one process.
    """

    kind: str
    name: str
    words: tuple[str, ...]
    before: tuple[str, ...] = ()
    single: bool = True

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"


def training(defense: str) -> Command:
    """Saved before every step, or only after every epoch."""
    own = f" {DRIFTING}" if defense in ("self_adaptive", "fire_sa") else ""
    line = f"train {defense} digits --seeds 1 --epochs 2 {QUICK}{own} --no-eval"
    return Command("train", defense, (f"{line} --save-every 0", line))


TRAININGS = tuple(map(training, CORE))
EVALUATIONS = (
    Command("eval", "AutoAttack", (f"eval runs {ATTACK} --jobs 1",), (TRAININGS[0].words[1],)),
    Command("eval", "PGD-20", ("eval runs --attack pgd20 --examples 60 --batch-size 10 --jobs 1",),
            (TRAININGS[5].words[1],)),
)  # fmt: skip
BENCH = f"bench digits --defenses madry,fire --seeds 2 --epochs 1 {QUICK}"
SHORT = "--attack pgd20 --examples 40 --batch-size 20"
BENCHES = (
    Command("bench", "in one process", (f"{BENCH} {SHORT} --jobs 1",)),
    Command("bench", "in two processes", (f"{BENCH} {SHORT} --jobs 2",), single=False),
)
PUBLISH = "table runs --publish board"
ATTACKED = tuple(
    f"train {defense} digits --seeds 1 --epochs 1 {QUICK} --attack aa --examples 6 --batch-size 6 --jobs 1"
    for defense in ("madry", "fire")
)
PUBLISHED = (
    Command("publish", "a new board", (PUBLISH,), ATTACKED),
    Command("publish", "a board that is there", (PUBLISH,),
            (*ATTACKED, "table runs/digits/Linf/madry --publish board")),
)  # fmt: skip
GROUPS = {"train": TRAININGS, "eval": EVALUATIONS, "bench": BENCHES, "publish": PUBLISHED}
