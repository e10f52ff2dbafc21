"""Architectures: the published sizes, RobustBench's own classes and keys, and normalisation layers as restated."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robench_fire.errors import RecipeError
from robench_fire.models import architectures, robustbench_package, timm_models
from robench_fire.models.names import ARCHS, display_name
from robench_fire.models.normalisation import Standardise, StandardiseEachImage

CIFAR, MNIST, DIGITS = (3, 32, 32), (1, 28, 28), (1, 8, 8)


def bare(arch: str, shape: architectures.Shape, num_classes: int = 10) -> nn.Module:
    return architectures.builder(arch, shape)(shape, num_classes)


def normalised(how: str, arch: str = "digits-cnn", shape: architectures.Shape = DIGITS) -> nn.Module:
    return architectures.build(arch, shape, 10, how, (0.25,) * shape[0], (0.5,) * shape[0])


def parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


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


@pytest.mark.parametrize(
    ("arch", "shape"),
    [
        ("wrn-10-1", CIFAR),
        ("wrn-16-2", CIFAR),
        ("resnet-18", CIFAR),
        ("preact-resnet-18", CIFAR),
        ("small-cnn", MNIST),
        ("digits-cnn", DIGITS),
        ("timm/resnet18", CIFAR),
        ("timm/resnet18", MNIST),
    ],
)
@pytest.mark.parametrize("num_classes", [2, 10, 100])
def test_images_become_logits(arch: str, shape: architectures.Shape, num_classes: int) -> None:
    with torch.device("meta"):
        assert bare(arch, shape, num_classes)(torch.zeros(3, *shape)).shape == (3, num_classes)


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


def test_small_cnn_starts_as_published() -> None:
    model = bare("small-cnn", MNIST)
    assert not model.get_parameter("classifier.fc3.weight").any()
    assert not model.get_parameter("classifier.fc3.bias").any()
    assert model.get_parameter("classifier.fc2.weight").any()
    conv = model.get_submodule("feature_extractor.conv2")
    assert not conv.bias.any()
    assert conv.weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)
    names = [f"feature_extractor.conv{i}" for i in range(1, 5)] + [f"classifier.fc{i}" for i in range(1, 4)]
    assert [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)] == names


@pytest.mark.parametrize("arch", ["digits-cnn", "small-cnn", "wrn-10-1"])
def test_initialisation_draws_from_the_global_generator(arch: str) -> None:
    shape = {"digits-cnn": DIGITS, "small-cnn": MNIST}.get(arch, CIFAR)
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(torch.cat([each.flatten() for each in bare(arch, shape).parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize(
    ("arch", "near"),
    [
        ("wrn-34", "wrn-34-10"),
        ("wrn-3410", "wrn-34-10"),
        ("resnet18", "resnet-18"),
        ("preactresnet18", "preact-resnet-18"),
        ("smallcnn", "small-cnn"),
        ("digit-cnn", "digits-cnn"),
    ],
)
def test_an_unknown_architecture_has_a_nearest_match(arch: str, near: str) -> None:
    with pytest.raises(
        RecipeError, match=f"unknown architecture '{arch}': did you mean {near}\\? choose from "
    ) as caught:
        architectures.builder(arch, CIFAR)
    assert all(name in str(caught.value) for name in ("resnet-18", "small-cnn", "digits-cnn", "timm/NAME"))


def test_an_architecture_like_no_other_lists_the_choices() -> None:
    with pytest.raises(RecipeError, match="unknown architecture 'zzz': choose from digits-cnn"):
        architectures.builder("zzz", CIFAR)


@pytest.mark.parametrize("arch", ["wrn-4-10", "wrn-11-1", "wrn-35-10", "wrn-34-0", "wrn-0-1"])
def test_a_wide_resnet_that_cannot_be_built_is_refused(arch: str) -> None:
    with pytest.raises(RecipeError, match=f"{arch}: the depth must be 10, 16, 22, 28, 34, … and the width at least 1"):
        architectures.builder(arch, CIFAR)


@pytest.mark.parametrize(
    ("arch", "shape", "said"),
    [
        ("wrn-34-10", MNIST, "wrn-34-10 takes 3x32x32 images, not 1x28x28; use --arch small-cnn"),
        ("resnet-18", DIGITS, "resnet-18 takes 3x32x32 images, not 1x8x8; use --arch digits-cnn"),
        ("small-cnn", CIFAR, "small-cnn takes 1x28x28 images, not 3x32x32; use --arch resnet-18 or preact-resnet-18"),
        ("digits-cnn", MNIST, "digits-cnn takes 1x8x8 images, not 1x28x28; use --arch small-cnn"),
        ("small-cnn", (3, 64, 64), "small-cnn takes 1x28x28 images, not 3x64x64; use --arch timm/NAME"),
    ],
)
def test_images_of_another_shape_are_refused_with_what_fits(arch: str, shape: architectures.Shape, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        architectures.builder(arch, shape)
    assert str(caught.value) == said
    with pytest.raises(RecipeError):
        architectures.build(arch, shape, 10, "none", (), ())


def test_what_is_said_to_fit_does_fit() -> None:
    for arch, shape in (
        ("small-cnn", MNIST),
        ("digits-cnn", DIGITS),
        ("resnet-18", CIFAR),
        ("preact-resnet-18", CIFAR),
    ):
        assert callable(architectures.builder(arch, shape))


def test_a_timm_model_learns_the_number_of_channels_and_classes() -> None:
    with torch.device("meta"):
        model = bare("timm/resnet18", MNIST, 7)
    assert model.get_parameter("conv1.weight").shape[1] == 1
    assert model.get_parameter("fc.weight").shape[0] == 7


def test_a_vision_transformer_learns_the_size_of_the_image() -> None:
    model = bare("timm/vit_tiny_patch16_224", CIFAR)
    assert model.get_parameter("pos_embed").shape[1] == 1 + (32 // 4) ** 2


@pytest.mark.parametrize(
    ("name", "shape", "chosen"),
    [
        ("vit_tiny_patch16_224", (1, 8, 8), {"img_size": 8, "patch_size": 2}),
        ("vit_tiny_patch16_224", (1, 28, 28), {"img_size": 28, "patch_size": 4}),
        ("swin_tiny_patch4_window7_224", (3, 32, 32), {"img_size": 32, "patch_size": 4}),
        ("mixer_s16_224", (3, 32, 32), {"img_size": 32}),
        ("levit_128", (3, 32, 32), {"img_size": 32}),
        ("resnet18", (1, 8, 8), {}),
    ],
)
def test_a_timm_model_is_built_for_the_size_of_the_images(
    name: str, shape: architectures.Shape, chosen: dict[str, int]
) -> None:
    assert timm_models.settings(name, shape) == chosen
    made = architectures.builder(f"timm/{name}", shape)(shape, 7).eval()
    assert made(torch.zeros(2, *shape)).shape == (2, 7)


def test_trying_a_timm_model_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    timm_models.settings.cache_clear()
    timm_models.settings("deit_tiny_patch16_224", (1, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["densenet121", "vgg11", "mixer_s16_224", "inception_v3"])
def test_a_timm_model_that_cannot_take_small_images_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"timm/{name} does not take 1x8x8 images \(.+\); choose another --arch"
    ) as it:
        architectures.builder(f"timm/{name}", (1, 8, 8))
    assert len(str(it.value).splitlines()) == 1


def test_a_colon_leads_to_timms_own_spelling() -> None:
    with pytest.raises(RecipeError, match=r"unknown architecture 'timm:resnet18': a timm model is timm/resnet18"):
        architectures.builder("timm:resnet18", CIFAR)


def test_an_unknown_timm_model_is_refused() -> None:
    with pytest.raises(
        RecipeError, match="unknown timm model 'vit_tny_patch16_224': near it are vit_tiny_patch16_224,"
    ):
        architectures.builder("timm/vit_tny_patch16_224", CIFAR)


@pytest.mark.parametrize("near", ["resnet18", "xcit_small_12_p8_224", "wide_resnet50_2", "convnext_tiny", "vgg11"])
def test_an_unknown_timm_model_has_near_matches_from_the_whole_list(near: str) -> None:
    mistaken = near[:2] + near[3:]
    with pytest.raises(RecipeError) as caught:
        architectures.builder(f"timm/{mistaken}", CIFAR)
    start, _, named = str(caught.value).partition(": near it are ")
    assert start == f"unknown timm model {mistaken!r}"
    assert near in named.split(", ")
    assert all(callable(architectures.builder(f"timm/{each}", CIFAR)) for each in named.split(", "))


def test_a_timm_model_like_no_other_says_where_the_list_is() -> None:
    with pytest.raises(RecipeError, match=r"^unknown timm model '\?': near it are none; see timm\.list_models\(\)$"):
        architectures.builder("timm/?", CIFAR)


def test_without_normalisation_the_model_itself_is_built() -> None:
    assert set(normalised("none").state_dict()) == set(bare("digits-cnn", DIGITS).state_dict())


@pytest.mark.parametrize(("how", "layer"), [("dataset", Standardise), ("image", StandardiseEachImage)])
def test_normalisation_is_the_first_layer(how: str, layer: type[nn.Module]) -> None:
    model = normalised(how).eval()
    assert isinstance(model[0], layer)
    x = torch.rand(5, *DIGITS)
    assert torch.equal(model(x), model[1](model[0](x)))


def test_dataset_normalisation_is_per_channel() -> None:
    mean, std = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
    x = np.random.default_rng(0).random((4, 3, 32, 32), dtype=np.float32)
    expected = np.stack([(x[:, channel] - mean[channel]) / std[channel] for channel in range(3)], axis=1)
    made = Standardise(mean, std)(torch.from_numpy(x))
    assert made.dtype == torch.float32
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_dataset_statistics_are_saved_but_never_learnt() -> None:
    layer = Standardise((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert parameters(layer) == 0
    assert set(layer.state_dict()) == {"mean", "std"}


def test_image_normalisation_is_per_image() -> None:
    x = np.random.default_rng(0).random((4, 3, 32, 32), dtype=np.float32)
    x[1] *= 0.01
    expected = [(image - image.mean()) / max(image.std(), 1 / np.sqrt(3 * 32 * 32)) for image in x.astype(np.float64)]
    made = StandardiseEachImage()(torch.from_numpy(x))
    np.testing.assert_allclose(made.numpy(), np.stack(expected), rtol=1e-4, atol=1e-4)


def test_a_constant_image_becomes_zero_with_a_finite_gradient() -> None:
    x = torch.full((2, 1, 8, 8), 0.3, requires_grad=True)
    made = StandardiseEachImage()(x)
    made.square().sum().backward()
    assert made.abs().max() < 1e-5
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_every_named_architecture_is_listed_and_spelled() -> None:
    for arch in ("resnet-18", "preact-resnet-18", "small-cnn", "digits-cnn"):
        assert arch in ARCHS
        assert display_name(arch) != arch
    assert display_name("wrn-34-10") == "WideResNet-34-10"
    assert display_name("timm/resnet18") == "timm/resnet18"


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
