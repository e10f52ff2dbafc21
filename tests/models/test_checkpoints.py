"""Checkpoints: every usual shape of a state dict loads."""

from __future__ import annotations

import argparse
import datetime
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import CPU, build, made, refusal, saved, weights
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robench_fire.errors import DataError
from robench_fire.models import architectures, checkpoints, unpickling


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


names = st.sampled_from(["state_dict", "model_state_dict", "model", "net", "weights", "ema", "params", "a.b"])


prefixes = st.lists(st.sampled_from(["module", "_orig_mod", "model", "1", "net", "backbone"]), max_size=3)


@given(keys=st.lists(names, max_size=3), prefix=prefixes, kind=st.sampled_from([dict, OrderedDict]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def test_weights_that_are_not_numbers_are_no_second_choice(tmp_path: Path) -> None:
    broken = {name: value * torch.nan if value.is_floating_point() else value for name, value in weights().items()}
    path = saved(tmp_path / "nan.pt", broken)
    assert checkpoints.find(path, shapes()).others == ()
