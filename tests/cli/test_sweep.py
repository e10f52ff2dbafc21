"""What `robench sweep` refuses before anything is spent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from command_line import ran

from robench_fire.datasets import digits

BAD = {
    "sweep fire digits": (2, "nothing to sweep: say --over PATH=V1,V2,..."),
    "sweep fire digits --over defense.lamb=1,2": (2, "did you mean defense.lam"),
    "sweep fire,madry digits --over defense.lam=1,2": (2, "madry has no number of its own"),
    "sweep fire digits --over recipe.schedule.at=0.5,0.75": (2, "cannot be swept"),
    "sweep fire digits --over defense.lam=1,x": (3, "'x' is not a number"),
    "sweep standard digits --over recipe.epochs=1,2 --select robust": (3, "standard trains without an attack"),
    "sweep fire digits --over threat.eps=0.1,0.2 --select robust": (2, "and they do not compare; use --select clean"),
    "sweep fire digits --over recipe.attack.steps=5,10 --select average": (2, "do not compare"),
    "sweep fire digits --over defense.lam=1,2 --attack fgsm": (2, "add pgd20 or aa, without which there is no row"),
    "sweep fire digits --over defense.lam=1,2 --set defense.lam=3": (2, "contradict each other"),
    "sweep nope digits --over defense.lam=1,2": (2, "unknown defense 'nope'"),
    "sweep pretraining digits --over recipe.epochs=1,2": (3, "begins from given weights"),
}


@pytest.mark.parametrize("words", BAD)
def test_a_mistake_is_found_before_anything_is_made(words: str, tmp_path: Path) -> None:
    code, said = BAD[words]
    error = ran(tmp_path, *words.split(), code=code).stderr.strip()
    assert said in error
    assert len([line for line in error.splitlines() if line.startswith("robench:")]) == 1
    assert not (tmp_path / "runs").exists()


def test_selection_needs_validation_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "DATASET", replace(digits.DATASET, validation=0))
    words = "sweep fire digits --over defense.lam=1,2 --select clean".split()
    said = ran(tmp_path, *words, code=2).stderr
    assert "--select clean: digits holds out no validation images; leave it out" in said
