"""Evaluated checkpoints: what `robench eval FILE` left beside files, of each or of several of one method. No torch."""

from __future__ import annotations

import glob
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from robench_fire.boards.rows import Row
from robench_fire.errors import DataError, UsageError
from robench_fire.files import sha256
from robench_fire.models.names import display_name
from robench_fire.quantity import same
from robench_fire.runs.folders import read_json, read_masks, shaped
from robench_fire.runs.shapes import EVALUATION
from robench_fire.statistics.masks import packed

NEEDED = {"arch", "norm", "eps", "examples", "seed", "batch_size", "weights_sha256", "clean", "robust"}
_SETTING = ("dataset", "arch", "normalise", "norm", "eps", "examples", "seed", "batch_size", "order", "weights_key")
ATTACKS = ("aa", "pgd20")


class Measured(NamedTuple):
    """What checkpoints reached in one setting: by attack, an evaluation of each. ``paths``: of those evaluations."""

    name: str
    by_attack: dict[str, list[dict[str, Any]]]
    paths: dict[str, list[Path]]

    @property
    def attack(self) -> str:
        """What a row's robust accuracy is of."""
        return "aa" if "aa" in self.by_attack else "pgd20"

    @property
    def facts(self) -> list[dict[str, Any]]:
        """The evaluations by that attack."""
        return self.by_attack[self.attack]


def evaluations(place: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(path, facts) of the evaluations by AutoAttack and PGD-20 below a folder, or beside a file.

    Raises:
        DataError: if one cannot be read.
    """
    beside = place.parent.glob(f"{glob.escape(place.name)}.*eval.*.json") if place.is_file() else []
    for path in sorted(place.rglob("*.eval.*.json") if place.is_dir() else beside):
        facts = read_json(path)
        if facts.get("attack") not in [*ATTACKS] or not ("dataset" in facts or of_zoo(facts)):
            continue
        if lacking := sorted(NEEDED - set(facts)):
            raise DataError(f"{path} has no {', '.join(lacking)}; move it away and evaluate again")
        yield path, shaped(path, EVALUATION)


def of_zoo(facts: dict[str, Any]) -> bool:
    """Whether it is of weights of RobustBench's zoo."""
    return str(facts.get("arch", "")).startswith("rb:")


def named(texts: Sequence[str]) -> dict[str, list[Path]]:
    """Files by the name of their method: of "NAME=FILE", "NAME=PATTERN" or "FILE", which is called by its own name.

    Raises:
        UsageError: for several files without a name, or a name that is there twice.
        DataError: if there is no such file.
    """
    found: dict[str, list[Path]] = {}
    for text in texts:
        name, equals, pattern = ("", "", text) if Path(text).is_file() else text.rpartition("=")
        matched = [Path(pattern)] if Path(pattern).is_file() else [Path(each) for each in sorted(glob.glob(pattern))]
        files = [path for path in matched if path.is_file() and ".eval." not in path.name and path.suffix != ".lock"]
        if not files:
            raise DataError(f"--with {text}: no such file; say NAME=FILE, or NAME='FOLDER/*.pt'")
        if not equals and len(files) > 1:
            raise UsageError(f"--with {text}: {len(files)} files; say what their row is called, NAME='{pattern}'")
        name = name.strip() or files[0].name
        if name in found:
            raise UsageError(f"--with {text}: another one is called {name}; choose another name")
        found[name] = files
    return found


def together(name: str, files: Sequence[Path], eps: str = "") -> list[Measured]:
    """What checkpoints of one method reached, for each setting in which all were evaluated.

    ``eps``: only at this radius.

    Raises:
        DataError: if there is none, with the command.
    """
    each = [_by_setting(path, eps) for path in files]
    if lacking := [path for path, own in zip(files, each, strict=True) if not own]:
        at = f" at eps {eps}" if eps else ""
        raise DataError(
            f"{lacking[0]} was not evaluated{at}: `robench eval {lacking[0]} --dataset ... --arch ...` does"
        )
    made = []
    for setting in each[0]:
        attacks = [attack for attack in ATTACKS if all(attack in own.get(setting, {}) for own in each)]
        if attacks:
            found = {attack: [own[setting][attack] for own in each] for attack in attacks}
            made.append(Measured(name, {attack: [facts for _, facts in pairs] for attack, pairs in found.items()},
                                 {attack: [path for path, _ in pairs] for attack, pairs in found.items()}))  # fmt: skip
    if not made:
        raise DataError(f"--with {name}: its {len(files)} files were not evaluated alike; give each the same options")
    return made


def _by_setting(file: Path, eps: str) -> dict[tuple[Any, ...], dict[str, tuple[Path, dict[str, Any]]]]:
    """The evaluations of a file as it is now, by setting and attack."""
    found: defaultdict[tuple[Any, ...], dict[str, tuple[Path, dict[str, Any]]]] = defaultdict(dict)
    weights = sha256(file)
    for path, facts in evaluations(file):
        if facts["weights_sha256"] == weights and (not eps or same(eps, facts["eps"])):
            found[tuple(facts.get(key, "") for key in _SETTING)][facts["attack"]] = path, facts
    return found


def row_of(measured: Measured) -> Row:
    """As a row that compares with those of runs: each checkpoint stands for a seed. Of its training nothing is known.

    Raises:
        DataError: if a mask cannot be read.
    """
    facts, first = measured.facts, measured.facts[0]
    verdict = {"verdict": "unknown", "reasons": ["not judged"]}
    about = {
        "by_hand": {}, "usual_eps": first["eps"], "sessions": {}, "attacks": {},
        "evaluation_batch_size": first["batch_size"],
        "verdicts": {str(at): each.get("reliability", verdict) for at, each in enumerate(facts)},
        "images_sha256": sorted({each["images_sha256"] for each in facts if "images_sha256" in each}),
        "weights_sha256": {str(at): each["weights_sha256"] for at, each in enumerate(facts)},
        "masks": {str(at): _masks(path) for at, path in enumerate(measured.paths[measured.attack])},
    }  # fmt: skip
    paper = dict.fromkeys(("key", "method", "title"), measured.name) | dict.fromkeys(("authors", "venue", "link"), "")
    recipe = {"arch": first["arch"], "extra": None}
    return Row(
        paper=paper | {"reported": []}, architecture=display_name(first["arch"]),
        plan={"name": measured.name, "dataset": first["dataset"], "profile": "", "recipe": recipe}
        | ({"data": first["data"]} if "data" in first else {}),
        fingerprint=first["weights_sha256"][:12], norm=first["norm"], eps=first["eps"], attack=measured.attack,
        examples=first["examples"], evaluation_seed=first["seed"],
        per_seed={at: {"clean": each["clean"], "robust": each["robust"]} for at, each in enumerate(facts)},
        unfinished=(), pgd20={}, facts=about,
    )  # fmt: skip


def _masks(facts_file: Path) -> dict[str, str]:
    both = read_masks(facts_file.with_suffix(".npy"))
    return {name: packed(mask) for name, mask in zip(("clean", "robust"), both, strict=True)}
