"""What rows cost: device time, arithmetic, energy, and time per point of robust accuracy; per seed, as a mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from robench_fire.boards.rows import Row
from robench_fire.quantity import digits, scaled
from robench_fire.statistics.summary import MeanStd, mean_std
from robench_fire.tables.entries import Entry

COLUMNS = ("Device time", "FLOPs", "Energy", "Per point", "Images/s", "MFU")
"""What a table of costs shows of each row; all of them numbers."""


class Cost(NamedTuple):
    """Means over seeds; None where a seed's is not known.

    ``kind``: "GPU" or "CPU", "" where that is not known. ``seconds``: of training on one GPU, or on one core.
    ``per_point``: those seconds per percentage point of AutoAttack accuracy. ``mfu``: between 0 and 1.
    """

    kind: str = ""
    seconds: MeanStd | None = None
    flops: MeanStd | None = None
    joules: MeanStd | None = None
    per_point: MeanStd | None = None
    images_per_second: MeanStd | None = None
    mfu: MeanStd | None = None
    peak_memory_bytes: MeanStd | None = None


def cost(entry: Entry) -> Cost:
    """The cost of an entry of ours; of others nothing is known."""
    row = entry.row
    if row is None:
        return Cost()
    seeds = sorted(row.per_seed)
    known: Mapping[str, Mapping[str, Any]] = row.facts.get("cost", {})  # rows of before this was recorded have none

    def over(name: str) -> MeanStd | None:
        return _mean(known.get(str(seed), {}).get(name) for seed in seeds)

    kind, each = device_seconds(row)
    seconds = list(each.values())
    time = mean_std(seconds) if kind else None
    robust = entry.robust.mean if entry.robust else 0.0
    point = mean_std([each / robust for each in seconds]) if time and robust else None
    return Cost(kind, time, over("flops"), over("energy_joules"), point,
                over("images_per_second"), over("mfu"), over("peak_memory_bytes"))  # fmt: skip


def device_seconds(row: Row) -> tuple[str, dict[int, float]]:
    """("GPU" or "CPU", by seed the seconds of its training on one GPU or core); ("", {}) where that is not known."""
    devices = {seed: _devices(row, seed) for seed in sorted(row.per_seed)}
    kinds = {kind for kind, _ in devices.values()}
    if len(kinds) != 1 or "" in kinds:
        return "", {}
    return kinds.pop(), {seed: row.per_seed[seed]["train_seconds"] * count for seed, (_, count) in devices.items()}


def _mean(values: Iterable[float | None]) -> MeanStd | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return mean_std(known) if len(known) == len(found) else None


def _devices(row: Row, seed: int) -> tuple[str, int]:
    """("GPU" or "CPU", how many GPUs or cores) of a seed; ("", 0) where that is not recorded, or changed."""
    sessions = row.facts["sessions"][str(seed)]
    session, shares = sessions[-1], {(each.get("processes", 1), each.get("threads")) for each in sessions}
    if len(shares) > 1:
        return "", 0
    processes = int(session.get("processes", 1))
    if session.get("cuda"):
        return "GPU", processes
    return ("CPU", processes * int(session["threads"])) if session.get("threads") else ("", 0)


def texts(entry: Entry) -> dict[str, str]:
    """The columns of an entry, and "Device"."""
    found = cost(entry)
    joules, mfu = found.joules, found.mfu
    return {
        "Device time": "–" if found.seconds is None else device_time(found.seconds.mean, f"{found.kind}-"),
        "FLOPs": "–" if found.flops is None else scaled(found.flops.mean, "FLOP"),
        "Energy": "–" if joules is None else scaled(joules.mean / 3600, "Wh"),
        "Per point": "–" if found.per_point is None else device_time(found.per_point.mean),
        "Images/s": "–" if found.images_per_second is None else f"{found.images_per_second.mean:,.0f}",
        "MFU": "–" if mfu is None else f"{100 * mfu.mean:.1f} %",
        "Device": ", ".join(devices(entry)) or "–",
    }


def devices(entry: Entry) -> list[str]:
    """The names of the devices that the seeds of an entry of ours were trained on."""
    return sorted(entry.row.settings("device")) if entry.row else []


def columns(entries: Sequence[Entry]) -> list[str]:
    """COLUMNS, and "Device" where there are several; of a single one ``remarks`` say the name."""
    return [*COLUMNS, *(["Device"] if len(_named(entries)) > 1 else [])]


def remarks(entries: Sequence[Entry]) -> list[str]:
    """What the numbers of a table of costs mean."""
    named = _named(entries)
    where = f" on {named[0]}" if len(named) == 1 else ""
    return [f"Costs are of training a seed{where}. Per point: device time per percentage point of AutoAttack accuracy."]


def _named(entries: Sequence[Entry]) -> list[str]:
    return sorted({name for entry in entries for name in devices(entry)})


def sorted_by(entry: Entry) -> dict[str, float | str | None]:
    """What each column of COLUMNS, and "Device", sorts by."""
    found = cost(entry)
    shown = (found.seconds, found.flops, found.joules, found.per_point, found.images_per_second, found.mfu)
    means = {name: value and value.mean for name, value in zip(COLUMNS, shown, strict=True)}
    return {**means, "Device": ", ".join(devices(entry)) or None}


def numbers(entry: Entry) -> dict[str, Any]:
    """The same as numbers, for CSV: hours, FLOPs, kWh, hours per point, bytes; mfu between 0 and 1."""
    found = cost(entry)
    scale = {"device_hours": (found.seconds, 3600), "flops": (found.flops, 1), "energy_kwh": (found.joules, 3.6e6),
             "device_hours_per_point": (found.per_point, 3600), "images_per_second": (found.images_per_second, 1),
             "mfu": (found.mfu, 1), "peak_memory_bytes": (found.peak_memory_bytes, 1)}  # fmt: skip
    about = {"device": ", ".join(devices(entry)), "device_kind": found.kind}
    return about | {name: value and value.mean / by for name, (value, by) in scale.items()}


def device_time(seconds: float, prefix: str = "") -> str:
    """Three digits of seconds, minutes or hours; ``prefix`` stands before the unit, as in 2.5 GPU-h."""
    size, unit = (1, "s") if seconds < 120 else (60, "min") if seconds < 7200 else (3600, "h")
    return f"{digits(seconds / size)} {prefix}{unit}"
