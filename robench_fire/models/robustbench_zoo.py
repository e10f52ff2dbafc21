"""Models of RobustBench's zoo, by their name there, loaded by RobustBench's own loader."""

from __future__ import annotations

import contextlib
import difflib
import io
from pathlib import Path
from typing import Any

from torch import nn

from robench_fire.errors import DataError, UsageError
from robench_fire.models import robustbench_package
from robench_fire.models.checkpoints import refuse_html

NORMS = ("Linf", "L2")


def _models() -> dict[tuple[str, str], Any]:
    """The zoo's entries by data set and norm."""
    robustbench_package.load()
    from robustbench.model_zoo import model_dicts

    return {
        (dataset.value, threat.value): entries
        for dataset, threats in model_dicts.items()
        for threat, entries in threats.items()
        if threat.value in NORMS
    }


def boards() -> list[tuple[str, str]]:
    """Data set and norm of every board that RobustBench has models for."""
    return list(_models())


def holds(name: str, dataset: str, norm: str) -> bool:
    """Whether the zoo has a model of this name on this board."""
    return name in _models()[dataset, norm]


def find(name: str, dataset: str, norm: str) -> tuple[str, str]:
    """The data set and norm under which the zoo holds ``name``; both choose among several, and may be "".

    Raises:
        UsageError: if there is no such model, or several.
    """
    asked = {key: entries for key, entries in _models().items() if dataset in ("", key[0])}
    found = [key for key, entries in asked.items() if name in entries]
    chosen = found if len(found) == 1 else [key for key in found if key[1] == norm]
    if len(chosen) == 1:
        return chosen[0]
    if found:
        held = ", ".join(f"--dataset {each[0]} --norm {each[1]}" for each in found)
        raise UsageError(f"rb:{name} is in the zoo more than once; say which: {held}")
    names = {each for entries in asked.values() for each in entries}
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    raise UsageError(f"RobustBench's zoo has no {name!r}; near it are {', '.join(near) or 'none'}")


def files(folder: Path, name: str, dataset: str, norm: str) -> list[Path]:
    """Where RobustBench's loader keeps the weights of a model, in one file or, for an ensemble, several.

    Raises:
        UsageError: if there are none, as timm brings the model itself.
    """
    weights = folder / dataset / norm / f"{name}.pt"
    ids = _models()[dataset, norm][name]["gdrive_id"]
    if ids is None:
        raise UsageError(
            f"rb:{name} has no checkpoint in the zoo, as timm brings it; it cannot be evaluated by this name"
        )
    if isinstance(ids, list):
        return [weights.with_name(f"{name}.pt_m{number}.pt") for number in range(len(ids))]
    return [weights]


def load(folder: Path, name: str, dataset: str, norm: str) -> nn.Module:
    """A model of the zoo; its weights are downloaded into ``folder`` if they are not there.

    Raises:
        DataError: if they cannot be downloaded or read.
    """
    robustbench_package.load()
    from robustbench.utils import load_model

    wanted = files(folder, name, dataset, norm)
    where = ", ".join(map(str, wanted))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model: nn.Module = load_model(name, model_dir=folder, dataset=dataset, threat_model=norm)
    except Exception as fault:  # whatever the downloader and the loader raise
        for path in wanted:
            if path.exists():
                refuse_html(path)
        said = str(fault).strip().split("\n")[0][:120]
        there = all(path.exists() for path in wanted)
        fix = f"is {where} the right file?" if there else f"download it from the zoo's page to {where}"
        raise DataError(f"rb:{name} cannot be loaded ({type(fault).__name__}: {said}); {fix}") from None
    return model
