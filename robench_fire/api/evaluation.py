"""What attacks left of a model's accuracy, as a value and as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robench_fire.api.speaking import Source
from robench_fire.errors import DataError
from robench_fire.files import as_json, write_text
from robench_fire.problem.threat import THREATS, Threat
from robench_fire.runs.folders import read_json
from robench_fire.statistics.masks import packed, unpacked

FORMAT = 1


@dataclass(frozen=True, repr=False, eq=False)
class Evaluation:
    """What attacks left of a model's accuracy.

    ``clean`` and ``robust`` (N,) booleans: correct on each image, and still correct after all attacks. ``facts``:
    everything else, as ``to_json`` writes it.
    """

    clean: NDArray[np.bool_]
    robust: NDArray[np.bool_]
    facts: Mapping[str, Any]

    @property
    def attacks(self) -> tuple[str, ...]:
        """The names of the evaluations; "standard" is "aa"."""
        return tuple(self.facts["attack"].split("+"))

    @property
    def threat(self) -> Threat:
        """The threat model."""
        return THREATS[self.facts["norm"]](self.facts["eps"])

    @property
    def clean_accuracy(self) -> float:
        """In percent."""
        return float(self.facts["clean"])

    @property
    def robust_accuracy(self) -> float:
        """In percent, after all attacks."""
        return float(self.facts["robust"])

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the robust accuracy over the choice of images, in percent (Wilson 1927)."""
        low, high = self.facts["robust_interval"]
        return low, high

    @property
    def after(self) -> dict[str, float]:
        """Accuracy in percent after each attack, in their order: each attacks what those before it left."""
        return dict(self.facts["after"])

    @property
    def seconds(self) -> dict[str, float]:
        """Of each attack, summed over interruptions."""
        return dict(self.facts["attack_seconds"])

    @property
    def verdict(self) -> str:
        """Whether AutoAttack's result can be believed: reliable, unreliable or unknown (docs/evaluation.md)."""
        return str(self.facts["reliability"]["verdict"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """Of the verdict, a sentence each: what failed, and what could not be checked."""
        return tuple(self.facts["reliability"]["reasons"])

    def to_json(self) -> str:
        """Everything as JSON, with both masks, packed."""
        masks = {"clean": packed(self.clean), "robust": packed(self.robust)}
        return as_json({"format": FORMAT, **self.facts, "masks": masks})

    def write(self, path: Source) -> None:
        """Write that JSON; ``Evaluation.read`` reads it back.

        Raises:
            RobenchError: if it cannot be written.
        """
        try:
            write_text(Path(path), self.to_json())
        except OSError as fault:
            raise DataError(f"cannot write {path}: {fault.strerror}") from None

    @classmethod
    def read(cls, path: Source) -> Evaluation:
        """The evaluation that ``write`` wrote, or that ``evaluate`` left in its folder.

        Raises:
            RobenchError: if the file is missing or no evaluation.
        """
        facts = read_json(Path(path))
        try:
            if facts.pop("format") != FORMAT:
                raise ValueError("another format")
            masks, count = facts.pop("masks"), int(facts["examples"])
            made = cls(unpacked(masks["clean"], count), unpacked(masks["robust"], count), facts)
            repr(made)  # every part is there
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise DataError(f"{path} is no evaluation of evaluate() ({type(fault).__name__}: {fault})") from None
        return made

    def __repr__(self) -> str:
        low, high = self.interval
        robust = f"robust {self.robust_accuracy:.2f} % [{low:.1f}, {high:.1f}]"
        what = f"{', '.join(self.attacks)} at {self.threat.norm} {self.threat.eps}, {len(self.clean):,} images"
        return f"Evaluation({what}: clean {self.clean_accuracy:.2f} %, {robust}, {self.verdict})"
