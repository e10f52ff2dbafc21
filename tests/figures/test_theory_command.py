"""robench theory: a figure, its data beside it, and the numbers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command_line import ran
from PIL import Image
from repository import ROOT


@pytest.mark.parametrize("name", ["manifold", "distance"])
def test_each_draws_says_and_keeps_its_data(name: str, tmp_path: Path) -> None:
    found = ran(tmp_path, "theory", name, "-o", "out/figure").stdout.splitlines()
    assert found[:3] == ["out/figure.png", "out/figure.svg", "out/figure.csv"]
    assert len(found[3]) > 100
    drawn(tmp_path / "out" / "figure.png")
    assert (tmp_path / "out" / "figure.svg").read_text().lstrip().startswith("<?xml")


def drawn(picture: Path) -> None:
    """That there is a picture, and its data beside it."""
    with Image.open(picture) as opened:
        assert min(opened.size) > 600
        assert len(opened.convert("RGB").getcolors(1 << 24) or []) > 20
    with open(picture.with_suffix(".csv")) as file:
        assert len(list(csv.DictReader(file))) > 100


def test_the_same_figure_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ran(tmp_path, "theory", "distance", "-o", name)
    for suffix in (".png", ".svg", ".csv"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_the_gaussian_models_numbers_as_json(tmp_path: Path) -> None:
    found = json.loads(ran(tmp_path, "theory", "gaussian", "--json", "-o", "gaussian.png").stdout)
    drawn(tmp_path / "gaussian.png")
    assert found["alpha_nat"] == pytest.approx(1.815, abs=1e-3)
    assert found["accuracy_nat"] == pytest.approx([0.784, 0.183], abs=1e-3)
    assert found["alpha_adv"] == pytest.approx(2.782, abs=1e-3)
    assert found["accuracy_adv"] == pytest.approx([0.608, 0.309], abs=1e-3)
    assert found["maa"] == pytest.approx(0.4901, abs=1e-4)
    assert found["paper"]["alpha_nat"] == 1.814
    assert set(found["covered"]) == {"TRADES", "FIRE", "Hellinger"}
    committed = json.loads((ROOT / "results" / "theory" / "gaussian.json").read_text())
    assert found["covered"]["FIRE"]["share"] == pytest.approx(committed["covered"]["FIRE"]["share"], abs=0.01)
    assert "is not reproduced: they cover, of the Pareto-optimal arc, TRADES 23 %" in found["sentence"]


def test_files_are_kept_and_only_pictures_written(tmp_path: Path) -> None:
    (tmp_path / "here.csv").write_text("mine")
    assert "here.csv exists and is kept" in ran(tmp_path, "theory", "distance", "-o", "here.svg", code=2).stderr
    assert not (tmp_path / "here.svg").exists()
    ran(tmp_path, "theory", "distance", "-o", "here.svg", "--force")
    assert (tmp_path / "here.csv").read_text() != "mine"
    for name, said in {
        "here.gif": "a figure is written as .png, .svg, .pdf",
        "here.csv": "a figure is written as",
    }.items():
        assert said in ran(tmp_path, "theory", "distance", "-o", name, "--force", code=2).stderr
    assert "'gausian' is not one of" in ran(tmp_path, "theory", "gausian", code=2).stderr
