"""Rows as RobustBench's model_info files, one JSON each, and boards made of them.

The one place where percentages become strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robench_fire.boards import united, worst
from robench_fire.boards.rows import SMALLER_EPS, Row, collect, ranked
from robench_fire.boards.schema import problems
from robench_fire.errors import DataError
from robench_fire.files import SEAL, digest, digest_of_read, write_json
from robench_fire.json_text import from_json
from robench_fire.models.names import display_name
from robench_fire.problem.settings import plan_fingerprint
from robench_fire.quantity import same
from robench_fire.runs.folders import MORE_DATA, read_json
from robench_fire.runs.shapes import BOARD, ROW, misfit
from robench_fire.statistics.masks import unpacked
from robench_fire.statistics.summary import percent

MATHJAX = SMALLER_EPS.replace("ℓ∞", r"\(\ell_{\infty} \)")  # as RobustBench's own files have it
SUFFIXES = {"": "", "file": "_extra", "hidden": "_hidden", "given": "_given"}
"""What a file's name says of extra_of, beside the paper's key; the first two as in RobustBench."""
BOARD_KEY = "robench_fire"  # everything of ours lies under this one key
SHAPE = {**BOARD, BOARD_KEY: ROW}


def to_model_info(row: Row) -> dict[str, Any]:
    """RobustBench's model_info: accuracies and eps as strings; everything of ours under one extra key."""
    return {**_published(row), "footnote": _footnote(row), BOARD_KEY: _ours(row)}


def _footnote(row: Row) -> str:
    return " ".join([_setting(row), *row.footnotes()]).replace(SMALLER_EPS, MATHJAX)


def _published(row: Row) -> dict[str, Any]:
    """What RobustBench has keys for, but for the footnote, whose wording may be an older one in a file."""
    clean, robust = row.mean("clean"), row.mean("robust")
    claimed: dict[str, Any] = {"autoattack_acc": f"{robust:.2f}"} if row.attack == "aa" else {}
    below = worst.over_seeds(row.facts, row.per_seed)
    claimed |= {"external": f"{below.mean:.2f}"} if below and below.mean < robust else {}
    claimed |= {"unreliable": row.verdict == "unreliable"} if row.verdict != "unknown" else {}
    return {
        "link": row.paper["link"],
        "name": row.paper["title"],
        "authors": row.paper["authors"],
        "additional_data": row.extra in MORE_DATA,
        "number_forward_passes": 1,
        "dataset": row.dataset,
        "venue": row.paper["venue"],
        "architecture": row.architecture,
        "eps": row.eps,
        "clean_acc": f"{clean:.2f}",
        "reported": reported(row, robust),
        **claimed,
    }


def with_seal(info: dict[str, Any]) -> dict[str, Any]:
    """A model_info as it is written, with its digest; rows of before there were seals stay as they are."""
    own = info[BOARD_KEY]
    return info | {BOARD_KEY: own | {SEAL: digest(info)}} if "masks_sha256" in own else info


def reported(row: Row, own: float) -> str:
    """The robust accuracy in the FIRE paper for the row's setting and network; ``own`` where there is none."""
    paper = row.published("FIRE")
    same = paper is not None and paper["arch"] == row.plan["recipe"]["arch"]
    return f"{paper['robust'] if paper and same else own:.2f}"


def _ours(row: Row) -> dict[str, Any]:
    """What RobustBench has no key for."""
    return {
        "format": 1,
        "paper": row.paper,
        "plan": row.plan,
        "fingerprint": row.fingerprint,
        "norm": row.norm,
        "eps": row.eps,
        "attack": row.attack,
        "examples": row.examples,
        "evaluation_seed": row.evaluation_seed,
        "seeds": {str(seed): values for seed, values in row.per_seed.items()},
        "unfinished": list(row.unfinished),
        "pgd20": {str(seed): value for seed, value in row.pgd20.items()},
        "std": {name: row.over_seeds(name).std for name in ("clean", "robust", "train_seconds")},
        "deviations": row.footnotes(),
        **row.facts,
    }


def _setting(row: Row) -> str:
    return f"Mean over {_size(row)}, {row.profile} profile of robench_fire."


def _size(row: Row) -> str:
    seeds = "1 seed" if len(row.per_seed) == 1 else f"{len(row.per_seed)} seeds"
    return f"{seeds}, {row.examples:,} test images"


def _poorer(row: Row, other: Row) -> bool:
    """Whether ``row`` lacks seeds or images that ``other`` has."""
    return row.examples < other.examples or not set(other.per_seed) <= set(row.per_seed)


def from_model_info(path: Path) -> Row:
    """The row in one of our leaderboard files.

    Raises:
        DataError: if the file is not JSON, has none of our keys, or was changed by hand.
    """
    info = read_json(path)
    if wrong := misfit(info, SHAPE) or _seeds_apart(info[BOARD_KEY]):
        raise DataError(f"{path} is not a leaderboard row of ours: {wrong}")
    seal = info[BOARD_KEY].pop(SEAL, None)
    try:
        row = _row(info)
        again, found = _published(row), _impossible(row)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise DataError(f"{path} is not a leaderboard row of ours ({type(fault).__name__}: {fault})") from None
    again["architecture"] = display_name(row.plan["recipe"]["arch"])
    for name in sorted((set(info) | set(again)) - {BOARD_KEY, "footnote"}):
        if info.get(name) != again.get(name):
            raise DataError(
                f"{path} was changed by hand: its {name} is {info.get(name)}, its seeds give {again.get(name)}; "
                "publish the row again"
            )
    if not found and seal is not None and seal != (now := digest_of_read(info)):
        found = f"its seal is {str(seal)[:12]}, its values give {now[:12]}"
    if found:
        raise DataError(f"{path} was changed by hand: {found}; publish the row again")
    return row


def _seeds_apart(own: dict[str, Any]) -> str:
    """What is not there of every seed."""
    if not own["seeds"]:
        return "it has no seed"
    for name in ("sessions", "verdicts", "weights_sha256"):
        if lacking := set(own["seeds"]) - set(own[name]):
            return f"{name} has nothing of seed {min(lacking)}"
    return "" if all(own["sessions"].values()) else "a seed has no session"


def _impossible(row: Row) -> str:
    """What a row cannot be: of another fingerprint, or of accuracies that its images and its intervals do not allow."""
    if (own := plan_fingerprint(row.plan)) != row.fingerprint:
        return f"its fingerprint is {row.fingerprint}, its plan gives {own}"
    intervals = row.facts.get("evaluator", {}).get("robust_intervals", {})
    for seed, values in row.per_seed.items():
        for name in ("clean", "robust"):
            right = values[name] * row.examples / 100
            if abs(right - round(right)) > 1e-6:
                return f"seed {seed}'s {name} accuracy of {values[name]} % is no number of {row.examples:,} images"
            mask = row.facts.get("masks", {}).get(str(seed), {}).get(name)
            if mask is not None and abs(percent(unpacked(mask, row.examples)) - values[name]) > 1e-6:
                return f"seed {seed}'s {name} accuracy of {values[name]} % is not that of its mask"
        known = row.facts, seed, row.examples
        if wrong := worst.impossible(*known) or united.impossible(*known):
            return wrong
        low, high = intervals.get(str(seed)) or (0.0, 100.0)
        if not low <= values["robust"] <= high:
            robust = f"seed {seed}'s robust accuracy of {values['robust']} %"
            return f"{robust} is outside its own interval, {low:.2f} to {high:.2f}"
    return ""


def _row(info: dict[str, Any]) -> Row:
    own = dict(info[BOARD_KEY])
    return Row(
        paper=own.pop("paper"),
        architecture=info["architecture"],
        plan=own.pop("plan"),
        fingerprint=own.pop("fingerprint"),
        norm=own.pop("norm"),
        eps=own.pop("eps"),
        attack=own.pop("attack"),
        examples=own.pop("examples"),
        evaluation_seed=own.pop("evaluation_seed"),
        per_seed={int(seed): values for seed, values in own.pop("seeds").items()},
        unfinished=tuple(own.pop("unfinished")),
        pgd20={int(seed): value for seed, value in own.pop("pgd20").items()},
        facts={name: value for name, value in own.items() if name not in ("format", "std", "deviations")},
    )


def find_rows(folder: Path, eps: str = "") -> list[Row]:
    """The rows of a board (JSON files) or of run folders, whichever lies at ``folder``; there may be none.

    ``eps``: those that claim this radius; run folders are asked for it whatever their plan claims.
    """
    listed = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
    files = [path for path in listed if is_board_file(path)]
    if files:
        return ranked(row for row in map(from_model_info, files) if not eps or same(eps, row.eps))
    return collect(folder, eps)


def is_board_file(path: Path) -> bool:
    """Whether a JSON holds a row of ours, or lies where only such files do: then it is refused if it does not."""
    place = path.resolve()
    if place.parent.name in ("Linf", "L2") and not place.name.startswith(("plan", "eval", "transfer")):
        # neither evaluations of RobustBench's weights nor the file of a submission, which has nothing of ours
        return not re.search(r"\.(eval|corruptions)\.", place.name) and "model_info" not in place.parts
    return is_row(path)


def is_row(path: Path) -> bool:
    """Whether a JSON file holds a row of ours."""
    try:
        found = from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and isinstance(found.get(BOARD_KEY), dict) and "plan" in found[BOARD_KEY]


def publish(rows: Iterable[Row], board: Path) -> list[Path]:
    """Write each row to board/<dataset>/<norm>/<Key>.json, extra_of after the key ("_extra", "_hidden", "_given").

    What a label adds to the method's name comes after it ("_lam-20"); a plan that is there keeps its file.

    Raises:
        DataError: if a row has no AutoAttack result, its file belongs to another plan, or it would not be what
            RobustBench reads; nothing is written then.
    """
    chosen: dict[Path, Row] = {}
    for row in rows:
        if row.attack != "aa":
            raise DataError(f"{row.paper['method']} has no AutoAttack result; run `robench eval RUN --attack aa`")
        path = _file(row, board / row.dataset / row.norm)
        other = chosen.get(path) or (from_model_info(path) if path.exists() else row)
        if (other.fingerprint, other.eps) != (row.fingerprint, row.eps):
            both = f"{other.fingerprint} at {other.eps} and {row.fingerprint} at {row.eps}"
            fix = "publish one, or tell them apart by --label PLAN=TEXT"
            raise DataError(f"two plans of {row.paper['method']} ({both}) claim {path}; {fix}")
        if path not in chosen or not _poorer(row, other):
            chosen[path] = row
    for path, row in chosen.items():
        if path.exists() and _poorer(row, other := from_model_info(path)):
            raise DataError(
                f"{path} holds {_size(other)}, and this row {_size(row)}; add what is missing, publish to another "
                "folder, or move that file away"
            )
    infos = {path: to_model_info(row) for path, row in chosen.items()}
    for path, info in infos.items():
        if wrong := problems(info, path.stem):
            raise DataError(f"{path} would not be a RobustBench file: {'; '.join(wrong)}")
    for path, info in infos.items():
        write_json(path, with_seal(info))
    return list(chosen)


def _file(row: Row, folder: Path) -> Path:
    """Where a row lies on a board, or is to lie."""
    stem = str(row.paper["key"]) + SUFFIXES[row.extra]
    for path in sorted(folder.glob(f"{stem}*.json")):
        there = from_model_info(path)
        if (there.fingerprint, there.eps) == (row.fingerprint, row.eps):
            return path
    added = row.name.removeprefix(row.paper["method"]).strip()
    return folder / (stem + "_" * bool(added) + re.sub(r"[^A-Za-z0-9-]+", "-", added).strip("-") + ".json")
