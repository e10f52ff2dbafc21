"""Checkpoints: every usual shape of a state dict loads; whatever does not fit or cannot be read is said in one line."""

from __future__ import annotations

import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robench_fire import checkpoints, models
from robench_fire.errors import DataError

CPU = torch.device("cpu")
UNREADABLE = re.compile(
    r" cannot be read safely \(\w+\); "
    r"it must hold tensors only: save model\.state_dict\(\), best as \.safetensors"
)


def made(arch: str, shape: models.Shape) -> nn.Module:
    return models.builder(arch, shape)(shape, 10)


def build() -> nn.Module:
    return made("digits-cnn", (1, 8, 8))


def weights() -> dict[str, Tensor]:
    """Those of a trained model, so to speak: nothing is left at its initial value."""
    torch.manual_seed(5)
    return {name: torch.rand_like(value.float()).to(value.dtype) + 1 for name, value in build().state_dict().items()}


def saved(path: Path, content: object) -> Path:
    if path.suffix == ".safetensors":
        assert isinstance(content, dict)
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def refusal(path: Path, make: Callable[[], nn.Module] = build) -> str:
    with pytest.raises(DataError) as caught:
        checkpoints.load(path, make, CPU)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message.splitlines()) == 1
    return message.removeprefix(str(path))


def assert_loaded(path: Path, expected: dict[str, Tensor], make: Callable[[], nn.Module] = build) -> None:
    model = checkpoints.load(path, make, CPU)
    assert not any(module.training for module in model.modules())
    found = model.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.pt", "model.pth", "model.tar", "no-suffix"])
def test_a_state_dict_loads(tmp_path: Path, name: str) -> None:
    assert_loaded(saved(tmp_path / name, weights()), weights())


def test_a_legacy_torch_file_loads(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert_loaded(tmp_path / "old.pt", weights())


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model."])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_prefixes_and_nesting_are_stripped(tmp_path: Path, prefix: str, nested: bool, kind: type) -> None:
    named = kind((prefix + name, value) for name, value in weights().items())
    content = {"state_dict": named, "epoch": 76, "best_prec1": 0.5} if nested else named
    assert_loaded(saved(tmp_path / "model.pt", content), weights())


def test_parameters_and_half_precision_become_the_models_own(tmp_path: Path) -> None:
    content = {name: value.half() if value.is_floating_point() else value for name, value in weights().items()}
    content["classifier.0.weight"] = nn.Parameter(content["classifier.0.weight"])
    expected = {name: value.half().to(value.dtype) for name, value in weights().items()}
    assert_loaded(saved(tmp_path / "half.pt", content), expected)


def test_a_normalised_model_loads_its_own_statistics(tmp_path: Path) -> None:
    def normalised() -> nn.Module:
        return models.build("digits-cnn", (1, 8, 8), 10, "dataset", (0.3,), (0.4,))

    content = normalised().state_dict()
    content["0.mean"] += 0.1
    assert_loaded(saved(tmp_path / "weights.safetensors", content), content, normalised)


def test_the_unused_sub_block1_of_the_trades_family_is_dropped(tmp_path: Path) -> None:
    from robench_fire.robustbench import architectures

    def narrow() -> nn.Module:
        return made("wrn-10-1", (3, 32, 32))

    original = architectures().wide_resnet.WideResNet(depth=10, widen_factor=1, sub_block1=True)
    content = {f"module.{name}": value for name, value in original.state_dict().items()}
    assert any("sub_block1" in name for name in content)
    path = saved(tmp_path / "trades.pt", content)
    assert_loaded(path, {name: v for name, v in original.state_dict().items() if "sub_block1" not in name}, narrow)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(checkpoints.load(path, narrow, CPU)(x), original.eval()(x))


@pytest.mark.parametrize("nested", [False, True])
def test_keys_that_are_no_names_are_ignored(tmp_path: Path, nested: bool) -> None:
    others = {0: torch.zeros(1), 2.5: torch.zeros(1), None: 1, (1, "a"): torch.zeros(1)}
    content = {"state_dict": {**others, **weights()}, 0: "more"} if nested else {**weights(), **others}
    assert_loaded(saved(tmp_path / "model.pt", content), weights())


@pytest.mark.parametrize("name", ["weights.safetensors", "model.pt"])
def test_a_tensor_of_another_shape_is_named(tmp_path: Path, name: str) -> None:
    content = {**weights(), "classifier.2.weight": torch.zeros(100, 64)}
    said = " does not fit the architecture: classifier.2.weight is (100, 64), not (10, 64); check --arch and --dataset"
    assert refusal(saved(tmp_path / name, content)) == said


def test_missing_and_unknown_tensors_are_counted(tmp_path: Path) -> None:
    content = weights()
    del content["classifier.2.weight"], content["classifier.2.bias"]
    content["linear.weight"] = torch.zeros(1)
    assert "2 tensors are missing and 1 unknown; check --arch" in refusal(saved(tmp_path / "other.pt", content))
    content = {**weights(), "epoch": torch.tensor(3)}
    assert "0 tensors are missing and 1 unknown" in refusal(saved(tmp_path / "more.safetensors", content))


@pytest.mark.parametrize(
    "content", [{}, {"state_dict": {}}, [1, 2], torch.zeros(3), 7, None, {"epoch": 3}, {3: torch.zeros(3)}]
)
def test_a_file_without_a_state_dict_does_not_fit(tmp_path: Path, content: object) -> None:
    said = f"{len(weights())} tensors are missing and 0 unknown"
    assert said in refusal(saved(tmp_path / "model.pt", content))


def test_the_weights_of_another_architecture_do_not_fit(tmp_path: Path) -> None:
    other = made("small-cnn", (1, 28, 28)).state_dict()
    assert "does not fit the architecture" in refusal(saved(tmp_path / "mnist.safetensors", other))


@pytest.mark.parametrize("start", [b"<!doctype html>", b"<!DOCTYPE HTML PUBLIC>", b"<html lang='en'>", b"\n\n  <HTML>"])
@pytest.mark.parametrize("name", ["model.pt", "weights.safetensors"])
def test_a_web_page_is_recognised(tmp_path: Path, start: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(start + b"<head><title>Google Drive - Virus scan warning</title></head>")
    said = " is an HTML page saved under this name; download the file itself again"
    assert refusal(tmp_path / name) == said


@pytest.mark.parametrize("name", ["weights.safetensors", "model.pt"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_cannot_be_read(tmp_path: Path, name: str, share: float) -> None:
    path = saved(tmp_path / name, weights())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert UNREADABLE.fullmatch(refusal(path))


def test_a_truncated_legacy_file_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save(weights(), path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, len(whole) // 10):
        path.write_bytes(whole[:length])
        assert refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 100,
        b"hello world\n",
        b"import torch\n",
        b'{"state_dict": {}}',
        b"version https://git-lfs.github.com/spec/v1\n",
        b"PK\x03\x04 not really",
        b"\x80\x02.",
        b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
        b"h\x01.",
        b"X\xff\xff",
    ],
)
@pytest.mark.parametrize("name", ["weights.safetensors", "model.pt", "model"])
def test_any_other_file_cannot_be_read(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert UNREADABLE.fullmatch(refusal(tmp_path / name))


def test_a_torch_file_named_safetensors_and_the_reverse_cannot_be_read(tmp_path: Path) -> None:
    saved(tmp_path / "model.pt", weights()).rename(tmp_path / "a.safetensors")
    saved(tmp_path / "weights.safetensors", weights()).rename(tmp_path / "b.pt")
    assert UNREADABLE.fullmatch(refusal(tmp_path / "a.safetensors"))
    assert UNREADABLE.fullmatch(refusal(tmp_path / "b.pt"))


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    said = ": no such checkpoint; give a run folder that `robench ls runs` lists, or a file"
    assert refusal(tmp_path / "absent.pt") == said
    assert refusal(tmp_path) == said


class Reduced:
    """Pickled as the call ``function(*given)``, which a plain unpickler makes."""

    def __init__(self, function: Callable[..., object], *given: object) -> None:
        self.call = (function, given)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def evil_zip(path: Path, content: object) -> None:
    torch.save(content, path)


def evil_legacy(path: Path, content: object) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def evil_pickle(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [evil_zip, evil_legacy, evil_pickle])
@pytest.mark.parametrize(
    "call",
    [
        lambda path: Reduced(os.mkdir, str(path)),
        lambda path: Reduced(os.system, f"touch {path}"),
        lambda path: Reduced(eval, f"open({str(path)!r}, 'w').close()"),
    ],
)
@pytest.mark.parametrize("around", [lambda call: call, lambda call: {"state_dict": weights(), "extra": call}])
def test_code_in_a_torch_file_is_not_executed(
    tmp_path: Path,
    write: Callable[[Path, object], None],
    call: Callable[[Path], Reduced],
    around: Callable[[Reduced], Any],
) -> None:
    sentinel = tmp_path / "executed"
    write(tmp_path / "evil.pt", around(call(sentinel)))
    assert UNREADABLE.fullmatch(refusal(tmp_path / "evil.pt"))
    assert not sentinel.exists()


def test_that_file_does_execute_code_elsewhere(tmp_path: Path) -> None:
    evil_zip(tmp_path / "evil.pt", Reduced(os.mkdir, str(tmp_path / "executed")))
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert (tmp_path / "executed").exists()


def test_a_whole_pickled_model_is_not_unpickled(tmp_path: Path) -> None:
    torch.save(build(), tmp_path / "model.pt")
    assert UNREADABLE.fullmatch(refusal(tmp_path / "model.pt"))
