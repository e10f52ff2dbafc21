"""features: the plane of features, from the file of `robench features`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from drawn_figures import ODD, check, texts

from robench_fire.errors import DataError, UsageError
from robench_fire.figures.features import features, files


def written(path: Path, name: str = "fire", images: int = 12, value: float = 1.0) -> Path:
    points = [[value * n, -n] for n in range(images)]
    plane = {"label": [n % 12 for n in range(images)], "clean": points, "perturbed": [[x + 1, y] for x, y in points]}
    mean: dict[str, Any] = {key: {"mean": each, "std": None, "n": 1} for key, each in (
        ("moved", 0.5), ("separable_clean", 97.0), ("separable_perturbed", 80.0))}  # fmt: skip
    models = [{"name": f"{name} seed {seed}", "embedded": plane} for seed in range(2)]
    path.write_text(json.dumps({"norm": "Linf", "eps": "0.2", "embedding": "pca", "mean": mean, "models": models}))
    return path


def test_data_are_the_file(tmp_path: Path) -> None:
    found = files([written(tmp_path / "a.json"), written(tmp_path / "b.json", "madry")])
    assert [name for name, _ in found] == ["fire", "madry"]
    drawn = features(found)
    check(drawn)
    points = [(row["label"], row["x"], row["y"]) for row in drawn.data
              if (row["method"], row["images"]) == ("madry", "perturbed")]  # fmt: skip
    assert points == [(n, n + 1.0, -n) for n in range(12)]
    assert "fire\nlinear probe 97.0 %" in texts(drawn)
    assert drawn.said.startswith("fire: perturbation moves features by 0.50 times the spread of clean ones")


def test_one_image_and_odd_names(tmp_path: Path) -> None:
    check(features(files([written(tmp_path / "a.json", ODD[0], images=1)])))


def test_what_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`robench features .* -o features.json`, then `robench plot features"):
        files([tmp_path])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match="it has no mean"):
        files([tmp_path / "other.json"])
    path = written(tmp_path / "a.json")
    with pytest.raises(UsageError, match="at most 4 files, and here are 5"):
        files([path] * 5)
