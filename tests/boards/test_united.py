"""What several norms together leave of a row, as a column: against its definition on stored masks, and on boards."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import ran

from robench_fire.boards import model_info, rows
from robench_fire.errors import DataError
from robench_fire.files import write_json
from robench_fire.tables.entries import entries_in
from robench_fire.tables.table import tables

QUICK = ("--epochs", "1", "--set", "recipe.attack.steps=1", "--set", "recipe.attack.step=0.2")
BOTH = ("--norm", "Linf,L2", "--eps", "0.2,0.5", "--attack", "pgd20")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained seeds under both norms."""
    folder = tmp_path_factory.mktemp("union")
    few = ("--attack", "pgd20", "--examples", "40")
    ran(folder, "train", "madry", "digits", "--seeds", "2", "--jobs", "1", *QUICK, *few)
    ran(folder, "eval", "runs", *BOTH, "--examples", "40", "--jobs", "1")
    return folder


@pytest.fixture
def here(evaluated: Path, tmp_path: Path) -> Path:
    shutil.copytree(evaluated, tmp_path / "here")
    return tmp_path / "here"


def stored(folder: Path, norm: str, seed: int) -> Path:
    (path,) = folder.rglob(f"seed-{seed}/eval.pgd20-{norm}-*.npy")
    return path


def left(folder: Path, seed: int) -> float:
    """Percent of the images that no threat breaks, by its definition."""
    both = [np.load(stored(folder, norm, seed))[1] for norm in ("Linf", "L2")]
    return float(100 * np.mean([all(each) for each in zip(*both, strict=True)]))


def test_it_is_what_no_norm_breaks(here: Path) -> None:
    each = [left(here, seed) for seed in (0, 1)]
    assert 0 < each[0] < 100
    (table,) = tables(entries_in([here / "runs"]))
    assert table.cells[0][table.columns.index("Union")] == f"{np.mean(each):.2f} ± {np.std(each, ddof=1):.2f}"
    (said,) = [note for note in table.notes if note.startswith("Union: correct under all of Linf 0.2 (PGD-20: ")]
    assert ", L2 0.5 (PGD-20: " in said


def test_every_format_has_it(here: Path) -> None:
    each = [left(here, seed) for seed in (0, 1)]
    for style in ("terminal", "md", "latex", "html"):
        assert f"{np.mean(each):.2f}" in ran(here, "table", "runs", "-f", style, "--columns", "Method,Union").stdout
    assert ">Union<" in ran(here, "table", "runs", "-f", "html").stdout
    (line,) = csv.DictReader(io.StringIO(ran(here, "table", "runs", "-f", "csv").stdout))
    assert (line["union_mean"], line["union_std"]) == (f"{np.mean(each):.4f}", f"{np.std(each, ddof=1):.4f}")
    (row,) = json.loads(ran(here, "table", "runs", "--json").stdout)["rows"]
    assert row["robench_fire"]["union"]["robust"] == {"0": each[0], "1": each[1]}
    seeds = csv.DictReader(io.StringIO(ran(here, "table", "runs", "-f", "csv", "--per-seed").stdout))
    assert [float(line["union_mean"]) for line in seeds] == each


def no_masks(here: Path) -> None:
    stored(here, "L2", 1).unlink()


def other_images(here: Path) -> None:
    path = stored(here, "L2", 1).with_suffix(".json")
    write_json(path, json.loads(path.read_text()) | {"images_sha256": "0" * 64})


def other_masks(here: Path) -> None:
    """Which are not those of its accuracies."""
    np.save(stored(here, "L2", 1), np.ones((2, 40), bool))


@pytest.mark.parametrize("change", [no_masks, other_images, other_masks])
def test_there_is_none_of_what_is_not_alike(here: Path, change: Callable[[Path], None]) -> None:
    change(here)
    for path in (here / "runs").rglob("eval.*.json"):  # of before there were seals: only the change is to matter
        write_json(path, {name: each for name, each in json.loads(path.read_text()).items() if name != "seal"})
    (table,) = tables(entries_in([here / "runs"]))
    assert "Union" not in table.columns
    assert "L2 0.5 is in no union: no attack there has masks of all seeds, on this row's images." in table.notes


def test_one_norm_has_none(here: Path) -> None:
    """A larger radius of a row's own norm is another row."""
    for path in (here / "runs").rglob("eval.pgd20-L2-*"):
        path.unlink()
    before = ran(here, "table", "runs", "-f", "json").stdout
    ran(here, "eval", "runs", "--eps", "0.1", "--attack", "pgd20", "--examples", "40", "--jobs", "1")
    assert ran(here, "table", "runs", "-f", "json").stdout == before
    assert "union" not in before.lower()


def test_a_board_keeps_it_and_is_believed_only_as_far_as_its_masks(here: Path) -> None:
    (row,) = rows.collect(here / "runs")
    info = model_info.to_model_info(row)
    write_json(here / "Madry.json", info)
    assert model_info.from_model_info(here / "Madry.json").facts["union"] == row.facts["union"]
    info["robench_fire"]["union"]["robust"]["1"] += 2.5
    write_json(here / "Madry.json", info)
    with pytest.raises(DataError, match=r"seed 1's union of \S+ % is not that of its mask"):
        model_info.from_model_info(here / "Madry.json")
    del info["robench_fire"]["union"]["robust"]["1"]
    write_json(here / "Madry.json", info)
    with pytest.raises(DataError, match="seed 1 has no union, others have"):
        model_info.from_model_info(here / "Madry.json")
