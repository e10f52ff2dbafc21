"""RobustBench's own classes, keys and benchmark, and the published sizes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from built_models import CIFAR, MNIST, bare, parameters
from torch import Tensor, nn

from robench_fire.models import architectures, robustbench_package


@pytest.mark.parametrize(
    ("arch", "shape", "num_classes", "count"),
    [
        ("small-cnn", MNIST, 10, 312_202),
        ("wrn-34-10", CIFAR, 10, 46_160_474),
        ("wrn-34-10", CIFAR, 100, 46_218_164),
        ("wrn-28-10", CIFAR, 10, 36_479_194),
        ("wrn-28-10", CIFAR, 100, 36_536_884),
        ("wrn-34-20", CIFAR, 10, 184_531_674),
        ("resnet-18", CIFAR, 10, 11_173_962),
        ("preact-resnet-18", CIFAR, 10, 11_172_170),
        ("preact-resnet-18", CIFAR, 100, 11_218_340),
    ],
)
def test_the_published_number_of_parameters(
    arch: str, shape: architectures.Shape, num_classes: int, count: int
) -> None:
    with torch.device("meta"):
        assert parameters(bare(arch, shape, num_classes)) == count


def test_a_wide_resnet_is_robustbenchs_own() -> None:
    wide = robustbench_package.architectures().wide_resnet.WideResNet
    ours = bare("wrn-10-1", CIFAR)
    assert type(ours) is wide
    theirs = wide(depth=10, widen_factor=1, sub_block1=False)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.rand(2, *CIFAR)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize(("depth", "width", "tensors"), [(34, 10, 191), (28, 10, 155)])
def test_the_keys_of_a_full_size_wide_resnet_are_robustbenchs(depth: int, width: int, tensors: int) -> None:
    with torch.device("meta"):
        ours = bare(f"wrn-{depth}-{width}", CIFAR).state_dict()
        theirs = (
            robustbench_package.architectures().wide_resnet.WideResNet(depth=depth, widen_factor=width).state_dict()
        )
    assert {name: value.shape for name, value in ours.items()} == {n: value.shape for n, value in theirs.items()}
    assert len(ours) == tensors


def test_the_resnets_are_robustbenchs_own() -> None:
    resnet = robustbench_package.architectures().resnet
    with torch.device("meta"):
        resnet.ResNet18().load_state_dict(bare("resnet-18", CIFAR).state_dict(), strict=True, assign=True)
        preact = bare("preact-resnet-18", CIFAR)
        form = resnet.PreActResNet(resnet.PreActBlockV2, [2, 2, 2, 2], bn_before_fc=True)
        assert set(form.state_dict()) == set(preact.state_dict())


def test_the_projection_shortcut_of_a_preact_resnet_takes_the_activated_input() -> None:
    """Otherwise the keys still match the published checkpoints, but the logits differ."""
    block = bare("preact-resnet-18", CIFAR).get_submodule("layer2.0").eval()
    seen: list[Tensor] = []
    block.get_submodule("shortcut").register_forward_hook(lambda module, given, made: seen.append(given[0]))
    x = torch.randn(1, 64, 8, 8)
    block(x)
    assert torch.equal(seen[0], torch.relu(block.get_submodule("bn1")(x)))


def test_sub_block1_is_never_built() -> None:
    assert not any("sub_block1" in name for name in bare("wrn-10-1", CIFAR).state_dict())


def test_robustbench_can_be_imported_and_no_stand_in_stays() -> None:
    loaded = robustbench_package.load()
    assert loaded.__name__ == "robustbench"
    assert robustbench_package.load() is loaded
    for name in ("autoattack", "pkg_resources"):
        if importlib.util.find_spec(name) is None:
            assert name not in sys.modules
            assert f"{name}.state" not in sys.modules
            with pytest.raises(ModuleNotFoundError):
                importlib.import_module(name)


def test_a_debugger_goes_on_after_autoattack() -> None:
    """Nothing is left to attack, and the model is checked all the same."""

    def mine(*_: object) -> None:
        pass

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    x, before = torch.rand(2, 1, 8, 8), sys.gettrace()
    wrong = (model(x).argmax(1) + 1) % 10
    sys.settrace(mine)
    try:
        robustbench_package.AutoAttack(model, eps=0.1).run_standard_evaluation(x, wrong)
        left = sys.gettrace()
    finally:
        sys.settrace(before)
    assert left is mine


class Recorded:
    """pyautoattack's AutoAttack, as far as the signatures go; it perturbs nothing."""

    calls: list[dict[str, Any]]

    def __init__(self, model: nn.Module, **given: Any) -> None:
        self.calls.append(given)

    def run_standard_evaluation(self, x: Tensor, y: Tensor, **given: Any) -> tuple[Tensor, Tensor]:
        self.calls.append(given)
        return x, y


def test_robustbenchs_benchmark_runs_on_pyautoattack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = robustbench_package.load().benchmark
    evaluation = importlib.import_module("robustbench.eval")
    assert benchmark is evaluation.benchmark
    if importlib.util.find_spec("autoattack") is not None:
        pytest.skip("the real autoattack is installed")
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()
    x = torch.rand(6, *CIFAR)
    label = model(x).argmax(1)
    label[:3] = (label[:3] + 1) % 10
    Recorded.calls = []
    monkeypatch.setattr("pyautoattack.AutoAttack", Recorded)
    monkeypatch.setattr(evaluation, "load_clean_dataset", lambda *_: (x, label))
    assert benchmark(model, n_examples=6, eps=8 / 255, data_dir=str(tmp_path), batch_size=5) == (0.5, 0.5)
    made, run = Recorded.calls
    assert (made["norm"], made["eps"], made["version"]) == ("Linf", 8 / 255, "standard")
    assert (run["batch_size"], run["state_path"]) == (5, None)
    assert "Adversarial accuracy: 50.00%" in capsys.readouterr().out
