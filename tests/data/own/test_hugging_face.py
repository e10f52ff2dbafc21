"""Data sets of Hugging Face, as a local folder has them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from own_images import arrays, npz, prepared
from PIL import Image

from robench_fire.errors import DataError, UsageError


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = pytest.importorskip("datasets", reason="datasets is not installed")
    found.disable_progress_bars()
    return found


def part(hub: Any, name: str) -> Any:
    pyarrow, content = pytest.importorskip("pyarrow"), arrays()
    features = hub.Features({"picture": hub.Image(), "label": hub.ClassLabel(names=["a", "b", "c", "d"])})
    pictures = [{"bytes": png(pixels[:, :, 0]), "path": None} for pixels in content[f"x_{name}"]]
    columns = {"picture": pictures, "label": content[f"y_{name}"].tolist()}
    table = hub.table.InMemoryTable(pyarrow.table(columns, schema=features.arrow_schema))
    return hub.Dataset(table, info=hub.DatasetInfo(features=features), fingerprint=name)


def png(pixels: NDArray[Any]) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "png")
    return written.getvalue()


def test_a_folder_of_save_to_disk(hub: Any, tmp_path: Path) -> None:
    both = hub.DatasetDict({name: part(hub, name) for name in ("train", "test")})
    both.save_to_disk(str(tmp_path / "numbers"))
    own = prepared(f"hf:{tmp_path}/numbers", tmp_path)
    assert (own.name, own.shape, own.class_names) == ("numbers", (1, 8, 8), ("a", "b", "c", "d"))
    named = {**arrays(), "class_names": list("abcd")}
    assert own.sha256 == prepared(npz(tmp_path, **named), tmp_path).sha256


def test_one_part_alone_is_parted(hub: Any, tmp_path: Path) -> None:
    part(hub, "train").save_to_disk(str(tmp_path / "numbers"))
    own = prepared(f"hf:{tmp_path}/numbers", tmp_path)
    assert (own.train, own.validation, own.test) == (15, 4, 5)


def test_columns_that_are_none(hub: Any, tmp_path: Path) -> None:
    part(hub, "train").rename_column("label", "kind").cast_column("kind", hub.Value("int64")).save_to_disk(
        str(tmp_path / "numbers")
    )
    with pytest.raises(
        DataError, match=r"has no column label or labels of type ClassLabel; it has picture \(Image\), kind \(Value\)"
    ):
        prepared(f"hf:{tmp_path}/numbers", tmp_path)


def test_a_folder_that_is_none(hub: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be loaded: FileNotFoundError"):
        prepared(f"hf:{tmp_path}", tmp_path / "data")


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        UsageError, match=r"hf:someone/numbers needs the package datasets: pip install 'robench-fire\[hf\]'"
    ):
        prepared("hf:someone/numbers", tmp_path)
