"""What is known of a difference after some of the images, in a sentence and as plain values. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from robench_fire.comparison.compare import METRIC_NAMES
from robench_fire.quantity import duration
from robench_fire.runs.evaluations import ATTACK_NAMES


@dataclass(frozen=True, kw_only=True)
class Known:
    """The difference of two methods after ``used`` of the ``images``, in percentage points.

    ``low``, ``high``: what the difference on all images can be, 95 % at any time. ``points``: the half width that was
    asked for. ``block``: images between two looks. ``doubts``: AutoAttack's own, of each method. ``seconds_saved``: of
    attacks on the images that were not needed, at the pace of those that were; 0 where all attacks were made before.
    """

    methods: tuple[str, str]
    plans: tuple[str, str]
    seeds: tuple[int, int]
    metric: str
    attack: str
    norm: str
    eps: str
    evaluation_seed: int
    block: int
    images: int
    used: int
    value: float
    low: float
    high: float
    points: float
    doubts: tuple[tuple[str, ...], ...]
    seconds_saved: float

    @property
    def names(self) -> tuple[str, str]:
        """The methods, by their plans where they are of one method."""
        one, other = self.methods
        return self.methods if one != other else (f"{one} {self.plans[0]}", f"{other} {self.plans[1]}")

    @property
    def why(self) -> str:
        """Why this was enough: "all" images, the "sign", or the "precision"."""
        if self.used == self.images:
            return "all"
        return "sign" if self.low > 0 or self.high < 0 else "precision"


def sentence(known: Known) -> str:
    """What is known, why that was enough, what was saved, and what it is not."""
    one, other = known.names
    where = METRIC_NAMES.get(known.metric, ATTACK_NAMES[known.attack])
    size = f"{one} is {abs(known.value):.2f} points {'above' if known.value > 0 else 'below'} {other}"
    size = size if known.value else f"{one} and {other} are level"
    where += f" at {known.norm} {known.eps}"
    seeds = " and ".join(dict.fromkeys(f"{count}" for count in known.seeds))
    trained = f"{seeds} seed{'s' * (known.seeds != (1, 1))}"
    if known.why == "all":
        said = f"On all {known.images:,} images {size} on {where}, exactly ({trained})."
    else:
        said = (
            f"After {known.used:,} of {known.images:,} images {size} on {where} "
            f"(95 % at any time: {known.low:.2f} to {known.high:.2f}; {trained})"
        )
        said += f": {_enough(known)}."
    return " ".join([said, *_saved(known), *_doubts(known), _about(known)])


def _enough(known: Known) -> str:
    if known.why == "sign":
        return "which of them is above is decided"
    return f"known to within {known.points:g} points, which of them is above is not"


def _saved(known: Known) -> list[str]:
    left = known.images - known.used
    if not left:
        return []
    cost = f", about {duration(known.seconds_saved)} of attacks at this pace," if known.seconds_saved >= 1 else ""
    return [f"{left:,} images{cost} were not needed."]


def _doubts(known: Known) -> list[str]:
    return [
        f"AutoAttack's own checks doubt {name}: {'; '.join(doubts)}."
        for name, doubts in zip(known.names, known.doubts, strict=True)
        if doubts
    ]


def _about(known: Known) -> str:
    said = "This is about these trained networks on this test set"
    if known.why == "all":
        return f"{said}; the interval over training seeds is that of `robench compare` without --until."
    go_on = f"`robench eval FOLDER --attack {known.attack} --shuffled --batch-size {known.block}"
    go_on += f" --norm {known.norm} --eps {known.eps}" + f" --seed {known.evaluation_seed}" * bool(
        known.evaluation_seed
    )
    go_on += "`"
    return f"{said}. For an interval over training seeds too, {go_on} of each goes on to all images; then no --until."


def as_plain(known: Known) -> dict[str, Any]:
    """For JSON."""
    found = asdict(known)
    value, low, high = (found.pop(name) for name in ("value", "low", "high"))
    return {
        **found,
        "difference": value,
        "interval": [low, high],
        "half_width": (high - low) / 2,
        "order": "shuffled",
        "stopped_by": known.why,
        "sentence": sentence(known),
    }
