"""`robench table --cost`: what each row cost, in every format, and where nothing is known of it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from repository import DIGITS_BOARD
from rich.console import Console

from robench_fire.boards import model_info
from robench_fire.quantity import digits, scaled
from robench_fire.statistics.summary import MeanStd
from robench_fire.tables.columns import Shown
from robench_fire.tables.cost_columns import cost, device_time
from robench_fire.tables.entries import Entry, entries_in, of_row, published
from robench_fire.tables.render import render, show
from robench_fire.tables.table import tables

FIRE = next(each.row for each in entries_in([DIGITS_BOARD]) if each.method == "FIRE" and each.row)
GPU = {"device": "NVIDIA H200", "cuda": "13.2", "threads": 8}
CORES = {"device": "AMD EPYC", "cuda": None, "threads": 2}
SPENT = {"flops": 1.5e18, "energy_joules": 7.2e6, "images_per_second": 4000.0, "mfu": 0.4, "peak_memory_bytes": 8e9}


def ours(method: str, session: dict[str, Any] = GPU, spent: dict[str, Any] = SPENT, hours: float = 10.0) -> Entry:
    """An entry of two seeds; the second took twice the time, FLOPs and energy of the first."""
    measured = {
        str(seed): {name: value * seed if name in ("flops", "energy_joules") and value else value
                    for name, value in spent.items()}
        for seed in (1, 2)
    }  # fmt: skip
    values = {seed: {"clean": 80.0, "robust": 50.0, "train_seconds": hours * 3600 * seed} for seed in (1, 2)}
    facts = FIRE.facts | {
        "sessions": {str(seed): [FIRE.facts["sessions"]["0"][0] | session] for seed in values},
        "verdicts": {str(seed): FIRE.facts["verdicts"]["0"] for seed in values},
        "cost": measured if spent else {},
        "evaluator": FIRE.facts["evaluator"] | {"robust_intervals": {}},
        "masks": {},
    }
    about = {"per_seed": values, "facts": facts, "paper": FIRE.paper | {"method": method}, "pgd20": {}}
    return of_row(replace(FIRE, **about))


def test_costs_are_means_over_seeds() -> None:
    found = cost(ours("A"))
    assert found.kind == "GPU"
    assert found.seconds == pytest.approx((54000.0, 36000 / 2**0.5, 2))
    assert found.flops is not None
    assert found.flops.mean == 2.25e18
    assert found.joules is not None
    assert found.joules.mean == 1.08e7
    assert found.per_point is not None
    assert found.per_point.mean == 54000 / 50
    assert found.mfu == MeanStd(0.4, 0.0, 2)


def test_time_is_counted_per_gpu_and_per_core() -> None:
    several = ours("A", GPU | {"processes": 4})
    cores = ours("A", CORES)
    row = several.row
    assert row is not None
    changed = [{"processes": 1, "threads": 1}, {"processes": 2, "threads": 1}]  # it went on in another number
    sessions = {seed: [each[0] | other for other in changed] for seed, each in row.facts["sessions"].items()}
    assert cost(of_row(replace(row, facts=row.facts | {"sessions": sessions}))).seconds is None
    alone = ours("A")
    seconds = [found.mean for each in (alone, several, cores) if (found := cost(each).seconds)]
    assert seconds == [54000.0, 4 * 54000.0, 2 * 54000.0]
    assert [cost(each).kind for each in (alone, several, cores)] == ["GPU", "GPU", "CPU"]


GOLDEN = """\
| # | Method | Architecture | Clean | AutoAttack | Device time | FLOPs | Energy | Per point | Images/s | MFU | Device |
| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |
| 1 | A | DigitsCNN | 80.00 ± 0.00 | 50.00 ± 0.00 | 15.0 GPU-h | 2.25 EFLOP | 3.00 kWh | 18.0 min | 4,000 | 40.0 % | NVIDIA H200 |
| 1 | B | DigitsCNN | 80.00 ± 0.00 | 50.00 ± 0.00 | 27.0 CPU-s | 2.25 EFLOP | – | 0.540 s | 4,000 | 40.0 % | AMD EPYC |
| 1 | C | DigitsCNN | 80.00 ± 0.00 | 50.00 ± 0.00 | 15.0 GPU-h | – | – | 18.0 min | – | – | NVIDIA H200 |

Every row: 2 of 5 seeds.  
Bold: the best of a column, and what cannot be told from it (Welch's t-test over seeds, 5 %).  
Costs are of training a seed. Per point: device time per percentage point of AutoAttack accuracy.
"""  # noqa: E501, W291


def three() -> list[Entry]:
    """With everything, without an energy counter, and from before costs were recorded."""
    return [ours("A"), ours("B", CORES, SPENT | {"energy_joules": None}, hours=0.0025), ours("C", spent={})]


def test_a_table_of_costs() -> None:
    found = render(three(), "md", shown=Shown(cost=True)).split("\n\n", 1)[1].replace("**", "")
    assert found == GOLDEN.rstrip("\n")


def test_a_single_device_stands_below_the_table() -> None:
    (table,) = tables([ours("A"), ours("B")], shown=Shown(cost=True))
    assert "Device" not in table.columns
    assert table.remarks[-1].startswith("Costs are of training a seed on NVIDIA H200.")


@pytest.mark.parametrize("width", [80, 120])
def test_no_number_is_cut_on_a_terminal(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    show([replace(each, architecture="WideResNet-34-10") for each in (ours("A"), ours("B"))], "terminal", console,
         shown=Shown(cost=True))  # fmt: skip
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.split()}
    assert {"15.0", "GPU-h", "18.0", "min"} <= words
    everything = {"2.25", "EFLOP", "3.00", "kWh", "4,000", "40.0"} <= words
    assert everything or any(line.startswith("Left out at 80 columns: MFU, Images/s") for line in lines)
    assert "…" not in "".join(lines)


def test_of_others_no_cost_is_known() -> None:
    theirs = next(each for each in published() if each.dataset == "mnist")
    assert set(cost(theirs)) == {"", None}
    mine = replace(ours("A"), dataset="mnist", eps="0.3", examples=10000)
    (table,) = tables([mine], shown=Shown(published=True, cost=True))
    place = table.columns.index("Device time")
    assert [cells[place] for cells in table.cells].count("–") == len(table.cells) - 1


def test_old_boards_and_runs_can_be_read() -> None:
    for each in entries_in([DIGITS_BOARD]):
        assert each.row is not None
        facts = {name: value for name, value in each.row.facts.items() if name != "cost"}
        found = cost(of_row(replace(each.row, facts=facts)))
        assert (found.kind, found.flops, found.mfu) == ("CPU", None, None)
        assert found.seconds is not None
        assert found.seconds.mean == pytest.approx(each.row and each.row.over_seeds("train_seconds").mean)
    unsaid = ours("A", {"cuda": None, "threads": None}, {})
    assert set(cost(unsaid)) == {"", None}


def test_a_seed_without_a_value_leaves_none_for_the_row() -> None:
    entry = ours("A")
    assert entry.row is not None
    known = entry.row.facts["cost"] | {"2": SPENT | {"energy_joules": None}}
    found = cost(of_row(replace(entry.row, facts=entry.row.facts | {"cost": known})))
    assert found.joules is None
    assert found.flops is not None


def test_nothing_is_divided_by_no_robustness() -> None:
    broken = replace(ours("A"), robust=MeanStd(0.0, 0.0, 2))
    assert (cost(broken).per_point, cost(replace(broken, robust=None)).per_point) == (None, None)


def test_numbers_in_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(render(three(), "csv", shown=Shown(cost=True)))))
    names = ("device", "device_kind", "device_hours", "flops", "energy_kwh", "device_hours_per_point", "mfu")
    assert [rows[0][name] for name in names] == ["NVIDIA H200", "GPU", "15", "2.25e+18", "3", "0.3", "0.4"]
    assert [rows[1][name] for name in names] == ["AMD EPYC", "CPU", "0.0075", "2.25e+18", "", "0.00015", "0.4"]
    assert rows[2]["flops"] == ""
    assert "flops" not in render(three(), "csv").splitlines()[0]


def test_every_other_format_has_them() -> None:
    page = render(three(), "html", shown=Shown(cost=True))
    assert '<button type="button">FLOPs</button>' in page
    assert "Train time" not in page
    assert page.count("15.0 GPU-h") == 2
    assert "FLOPs" not in render(three(), "html")
    assert r"40.0 \%" in render(three(), "latex", shown=Shown(cost=True))
    rows = json.loads(render(three(), "json"))["rows"]  # everything that is known is there in any case
    assert rows[0]["robench_fire"]["cost"]["1"]["flops"] == 1.5e18


def test_costs_survive_publishing(tmp_path: Path) -> None:
    row = ours("FIRE").row
    assert row is not None
    (path,) = model_info.publish([row], tmp_path)
    assert model_info.from_model_info(path) == row


def test_sizes_and_durations_as_people_say_them() -> None:
    assert [scaled(value, "FLOP") for value in (0, 5, 999.7, 9.996e5, 1.83e18, 1e25)] == [
        "0 FLOP", "5.00 FLOP", "1.00 kFLOP", "1.00 MFLOP", "1.83 EFLOP", "10 YFLOP"
    ]  # fmt: skip
    assert [device_time(value) for value in (0.0123, 119, 130, 7199, 7200, 3.6e7)] == [
        "0.0123 s", "119 s", "2.17 min", "120 min", "2.00 h", "10,000 h"
    ]  # fmt: skip
    assert [digits(value) for value in (99.94, 99.96, 1234.5)] == ["99.9", "100", "1,234"]
