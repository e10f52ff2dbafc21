"""Checkpoints: every usual shape of a state dict loads; whatever does not fit or cannot be read is said in one line."""

from __future__ import annotations

import argparse
import datetime
import os
import pickle
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from robench_fire.errors import DataError
from robench_fire.models import architectures, checkpoints, unpickling

CPU = torch.device("cpu")
UNREADABLE = re.compile(
    r" cannot be read safely \(\w+\); "
    r"it must hold tensors: save model\.state_dict\(\) alone, best as \.safetensors"
)


def made(arch: str, shape: architectures.Shape) -> nn.Module:
    return architectures.builder(arch, shape)(shape, 10)


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
        return architectures.build("digits-cnn", (1, 8, 8), 10, "dataset", (0.3,), (0.4,))

    content = normalised().state_dict()
    content["0.mean"] += 0.1
    assert_loaded(saved(tmp_path / "weights.safetensors", content), content, normalised)


def test_the_unused_sub_block1_of_the_trades_family_is_dropped(tmp_path: Path) -> None:
    from robench_fire.models.robustbench_package import architectures

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


names = st.sampled_from(["state_dict", "model_state_dict", "model", "net", "weights", "ema", "params", "a.b"])
prefixes = st.lists(st.sampled_from(["module", "_orig_mod", "model", "1", "net", "backbone"]), max_size=3)


@given(keys=st.lists(names, max_size=3), prefix=prefixes, kind=st.sampled_from([dict, OrderedDict]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_weights_are_found_wherever_a_script_puts_them(
    tmp_path: Path, keys: list[str], prefix: list[str], kind: type
) -> None:
    content: Any = kind((".".join([*prefix, name]), value) for name, value in weights().items())
    for key in reversed(keys):
        content = {"epoch": 3, key: content, "best_acc": 51.2, "optimizer": {"state": {0: {"m": torch.zeros(2)}}}}
    path = saved(tmp_path / "model.pt", content)
    assert_loaded(path, weights())
    found = checkpoints.find(path, {name: value.shape for name, value in weights().items()})
    assert found.key == ".".join([*keys, *prefix])
    assert found.others == ()


BESIDE = {
    "numpy scalar": np.float64(51.2),
    "numpy integer": np.int64(3),
    "numpy array": np.arange(3.0),
    "random state": np.random.RandomState(0).get_state(),
    "namespace": argparse.Namespace(lr=0.1, eps=8 / 255, device=torch.device("cpu"), out=Path("x")),
    "defaultdict": defaultdict(list, {"losses": [1.0]}),
    "date": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
    "duration": datetime.timedelta(seconds=1),
    "path": Path("runs"),
    "windows path": PureWindowsPath("C:/runs"),
    "optimiser": torch.optim.Adam([torch.zeros(1)]).state_dict(),
    "counter": Counter("ab"),
    "set": {1, 2},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("beside", BESIDE)
def test_what_scripts_save_beside_weights_is_harmless(tmp_path: Path, beside: str, zipped: bool) -> None:
    content = {"state_dict": weights(), "beside": BESIDE[beside]}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    assert_loaded(tmp_path / "model.pt", weights())


def test_a_stand_in_is_made_of_anything_and_does_nothing(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(lr=0.1)}, tmp_path / "model.pt")
    found = unpickling.read(tmp_path / "model.pt")["args"]
    assert type(found) is unpickling.Inert
    assert vars(found) == {}


def test_weights_in_a_defaultdict_are_found(tmp_path: Path) -> None:
    assert_loaded(saved(tmp_path / "model.pt", {"net": defaultdict(dict, weights())}), weights())


def shapes() -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights().items()}


def test_plain_weights_are_taken_before_averaged_ones_unless_those_are_asked_for(tmp_path: Path) -> None:
    averaged = {name: value + 1 for name, value in weights().items()}
    path = saved(tmp_path / "two.pt", {"state_dict_ema": averaged, "state_dict": weights(), "copy": weights()})
    found = checkpoints.find(path, shapes())
    assert (found.key, found.others) == ("state_dict", ("state_dict_ema",))
    assert torch.equal(found.tensors["features.0.weight"], weights()["features.0.weight"])
    asked = checkpoints.find(path, shapes(), "state_dict_ema")
    assert torch.equal(asked.tensors["features.0.weight"], averaged["features.0.weight"])
    with pytest.raises(DataError, match=r"unknown weights 'swa': .*state_dict_ema"):
        checkpoints.find(path, shapes(), "swa")


@pytest.mark.parametrize(
    ("prefix", "mean", "std"),
    [("1.", "0.mean", "0.std"), ("module.1.", "module.0.mean", "module.0.std"), ("", "mean", "std"),
     ("model.", "normalize.mean", "normalize.std"), ("net.", "mu", "sigma")],
)  # fmt: skip
def test_a_first_layer_that_normalises_is_recognised(tmp_path: Path, prefix: str, mean: str, std: str) -> None:
    content = {mean: torch.tensor([0.3]).view(1, 1, 1), std: torch.tensor([[[0.4]]])}
    content |= {prefix + name: value for name, value in weights().items()}
    found = checkpoints.find(saved(tmp_path / "model.pt", content), shapes())
    assert (found.mean, found.std, found.behind) == ((0.3,), (0.4,), False)
    assert set(found.tensors) == set(weights())


def test_a_layer_without_weights_in_front_is_noticed(tmp_path: Path) -> None:
    content = {f"module.1.{name}": value for name, value in weights().items()}
    assert checkpoints.find(saved(tmp_path / "model.pt", content), shapes()).behind


def test_a_deeper_network_of_the_same_kind_does_not_fit(tmp_path: Path) -> None:
    """Every tensor of the shallower one is in it; taking those would be another function."""
    deep, flat = (made(f"wrn-{depth}-1", (3, 32, 32)) for depth in (16, 10))
    path = saved(tmp_path / "deep.pt", deep.state_dict())
    wanted = {name: value.shape for name, value in flat.state_dict().items()}
    with pytest.raises(checkpoints.MisfitError, match=r"unknown block1\.layer\.1"):
        checkpoints.find(path, wanted)
    known = {name: architectures.shapes(name, (3, 32, 32), 10) for name in ("wrn-10-1", "wrn-16-1")}
    assert checkpoints.fitting(path, known) == ["wrn-16-1"]


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
