"""Checkpoints that do not fit or cannot be read: said in one line, and nothing in a file is executed."""

from __future__ import annotations

import argparse
import os
import pickle
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import CPU, build, refusal, saved, weights

from robench_fire.models import checkpoints

UNREADABLE = re.compile(
    r" cannot be read safely \(\w+\); "
    r"it must hold tensors: save model\.state_dict\(\) alone, best as \.safetensors"
)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.pt"])
def test_a_tensor_of_another_shape_is_named(tmp_path: Path, name: str) -> None:
    content = {**weights(), "classifier.2.weight": torch.zeros(100, 64)}
    said = " does not fit the architecture: classifier.2.weight is (100, 64), not (10, 64)"
    assert refusal(saved(tmp_path / name, content)) == said


def test_missing_and_unknown_tensors_are_named(tmp_path: Path) -> None:
    content = weights()
    del content["classifier.2.weight"], content["classifier.2.bias"]
    content["linear.weight"] = torch.zeros(1)
    said = "missing classifier.2.weight, classifier.2.bias; unknown linear.weight (1,)"
    assert refusal(saved(tmp_path / "other.pt", content)) == f" does not fit the architecture: {said}"
    content = {**weights(), "epoch": torch.tensor(3)}
    assert refusal(saved(tmp_path / "more.safetensors", content)).endswith(": unknown epoch ()")


def test_only_the_first_three_are_named_and_without_their_prefix(tmp_path: Path) -> None:
    content = {f"module.net.{name}": value for name, value in weights().items() if not name.startswith("features.")}
    assert "missing features.0.weight, features.1.weight, features.1.bias and 7 more" in refusal(
        saved(tmp_path / "other.pt", {"model": content})
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "it is a dict"),
        ({"state_dict": {}}, "its keys are state_dict"),
        ([1, 2], "it is a list"),
        (torch.zeros(3), "it is a Tensor"),
        (7, "it is a int"),
        (None, "it is a NoneType"),
        ({"epoch": 3, "net": "resnet"}, "its keys are epoch, net"),
        ({3: torch.zeros(3)}, "its keys are 3"),
    ],
)
def test_the_keys_of_a_file_without_tensors_are_listed(tmp_path: Path, content: object, said: str) -> None:
    assert f" holds no tensors by name: {said}; save model.state_dict()" in refusal(saved(tmp_path / "m.pt", content))


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
    said = refusal(tmp_path / "evil.pt")
    assert UNREADABLE.fullmatch(said) or re.match(r" holds a (posix\.\w+|eval|builtins\.eval), which is not read", said)
    assert not sentinel.exists()


@pytest.mark.parametrize("allowed", [Counter, OrderedDict, defaultdict, argparse.Namespace, np.dtype])
def test_code_does_not_run_through_a_harmless_class(tmp_path: Path, allowed: Callable[..., object]) -> None:
    sentinel = tmp_path / "executed"
    evil_zip(tmp_path / "evil.pt", Reduced(allowed, Reduced(os.mkdir, str(sentinel))))
    assert " holds a posix.mkdir, which is not read" in refusal(tmp_path / "evil.pt")
    assert not sentinel.exists()


def test_that_file_does_execute_code_elsewhere(tmp_path: Path) -> None:
    evil_zip(tmp_path / "evil.pt", Reduced(os.mkdir, str(tmp_path / "executed")))
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert (tmp_path / "executed").exists()


def test_a_whole_pickled_model_is_not_unpickled(tmp_path: Path) -> None:
    torch.save(build(), tmp_path / "model.pt")
    said = " holds a robench_fire.models.small_cnns.DigitsCNN, which is not read as it could execute code; save model."
    assert refusal(tmp_path / "model.pt").startswith(said)


def test_a_dict_inside_itself_is_read_once(tmp_path: Path) -> None:
    content: dict[str, Any] = dict(weights())
    content["again"] = content
    found = checkpoints.load(saved(tmp_path / "a.pt", content), build, CPU).state_dict()
    assert torch.equal(found["classifier.2.bias"], weights()["classifier.2.bias"])


def test_dicts_that_share_their_dicts_are_not_walked_without_end(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    for _ in range(40):
        content = {"one": content, "other": content}
    assert "dicts, or more than 16 one in another" in refusal(saved(tmp_path / "a.pt", content))
