"""How the texts of options are read."""

from __future__ import annotations

import re

from robench_fire import stopping
from robench_fire.cli.common.options import LauncherName
from robench_fire.errors import RecipeError, UsageError, unknown
from robench_fire.quantity import seconds as seconds_of


def duration(flag: str, text: str) -> float:
    """The seconds of a text.

    Raises:
        UsageError: if it is no duration.
    """
    try:
        return seconds_of(text)
    except ValueError as fault:
        raise UsageError(f"{flag} {fault}") from None


def limited(text: str) -> None:
    """Let this command stop after a time, if one is given.

    Raises:
        UsageError: for one that is no duration, or nothing.
    """
    if text:
        if not (limit := duration("--time-limit", text)):
            raise UsageError("--time-limit 0: nothing can be done in no time; leave it out for none")
        stopping.after(limit, text)


def listed(asked: list[str] | None) -> list[str]:
    """The parts of texts that are separated by commas."""
    return [part.strip() for text in asked or [] for part in text.split(",") if part.strip()]


MOST_SEEDS = 10_000


def seeds(text: str, one: int | None = None) -> list[int]:
    """``5`` is 0..4, ``0,3`` is those two, ``2-4`` is 2, 3, 4; ``one`` is of --seed, just this.

    Raises:
        UsageError: for anything else, or both.
    """
    if one is not None:
        if text:
            raise UsageError(f"--seed {one} is that seed, --seeds {text} says how many or which; give one of them")
        return [one]
    text = text.replace(" ", "") or "5"
    if re.fullmatch(r"\d{1,18}", text) and 0 < int(text) <= MOST_SEEDS:
        return list(range(int(text)))
    found: list[range] = []
    if re.fullmatch(r"\d{1,18}(-\d{1,18})?(,\d{1,18}(-\d{1,18})?)*", text) and ("," in text or "-" in text):
        ends = (part.partition("-") for part in text.split(","))
        found = [range(int(first), int(last or first) + 1) for first, _, last in ends]
    if not found or not all(found) or sum(each.stop - each.start for each in found) > MOST_SEEDS:  # one runs backwards
        raise UsageError(
            f"--seeds {text[:40]}: expected a number of seeds (5), a list (0,3) or a range (2-4), at most "
            f"{MOST_SEEDS:,} seeds; one seed is --seed K"
        )
    return sorted({seed for each in found for seed in each})


def launched(launcher: LauncherName, address: str, slots: int | None, together: bool) -> tuple[str, int] | None:
    """(address, cores of a run) of a cluster; None for this machine.

    Raises:
        UsageError: for an option that does not go with the launcher.
    """
    if launcher is LauncherName.ray:
        if together:
            raise UsageError("--together trains seeds in one process, --launcher ray each by itself; leave one out")
        return address, slots or 1
    for flag, value in (("--address", address), ("--slots", slots)):
        if value:
            raise UsageError(f"{flag} {value} needs --launcher ray; add it, or leave {flag} out")
    return None


def own_attacks(text: str) -> tuple[str, tuple[str, ...]]:
    """The evaluations of a comma-separated text that are ours, comma-separated, and attacks of the user's own."""
    parts = [part.strip() for part in text.split(",")]
    own = tuple(dict.fromkeys(part for part in parts if ":" in part or part.endswith(".py")))
    return ",".join(part for part in parts if part not in own), own


def attacks(text: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    """The evaluations among ``choices`` that a comma-separated text names, in their order.

    Raises:
        UsageError: for an unknown one.
    """
    asked = tuple(part for part in text.replace(" ", "").lower().split(",") if part)
    for each in asked:
        if each not in choices:
            more = "; an attack of your own is for `robench eval`" if ":" in each else ""
            raise UsageError(unknown("attack", each, choices) + more)
    if not asked:
        raise UsageError(f"--attack is empty: choose from {', '.join(choices)}, or --no-eval")
    return tuple(each for each in choices if each in asked)


def shard(text: str) -> tuple[int, int] | None:
    """(i, n) of ``i/n``, counted from 1; None where nothing is given.

    Raises:
        UsageError: for anything else.
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.replace(" ", ""))
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text[:40]}: expected i/n with i from 1 to n, like 2/4")
    return int(match[1]), int(match[2])


def radii(text: str) -> tuple[str, ...]:
    """The radii of a comma-separated text, each once."""
    return tuple(dict.fromkeys(part for part in text.replace(" ", "").split(",") if part))


def epochs(text: str) -> int | None:
    """The number of epochs, or None where none is given.

    Raises:
        RecipeError: if it is not a positive integer.
    """
    if not text:
        return None
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise RecipeError(f"--epochs {text[:40]}: expected an integer of at least 1")
    return int(text)


def settings(
    batch_size: str, lr: str, precision: str, attack_precision: str, sets: list[str] | None
) -> tuple[tuple[str, str, str], ...]:
    """(flag, path, text) of every override, in the order in which they apply.

    Raises:
        UsageError: for a --set without an equals sign.
    """
    named = (
        ("--batch-size", "recipe.batch_size", batch_size),
        ("--lr", "recipe.optimiser.lr", lr),
        ("--precision", "recipe.precision", precision),
        ("--attack-precision", "recipe.attack_precision", attack_precision),
    )
    found = [each for each in named if each[2]]
    for each in sets or []:
        path, equals, text = each.partition("=")
        if not equals or not path:
            raise UsageError(f"--set {each}: expected PATH=VALUE, like defense.lam=6")
        found.append(("--set", path.strip(), text.strip()))
    return tuple(found)
