"""Models of timm: built for the size of the images, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from built_models import CIFAR, MNIST, bare
from command_line import ran

from robench_fire.errors import RecipeError
from robench_fire.models import architectures, timm_models
from robench_fire.models.stacked import cannot_stack

pytestmark = pytest.mark.slow


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


def test_pretrained_weights_are_not_pretended() -> None:
    with pytest.raises(
        RecipeError, match=r"timm/resnet18\.a1_in1k names pretrained weights \(a1_in1k\).*say timm/resnet18$"
    ):
        architectures.builder("timm/resnet18.a1_in1k", CIFAR)


def test_what_was_chosen_is_said() -> None:
    assert architectures.chosen_of_timm("timm/vit_tiny_patch16_224", CIFAR) == {"img_size": 32, "patch_size": 4}
    assert architectures.chosen_of_timm("timm/resnet18", CIFAR) == architectures.chosen_of_timm("wrn-10-1", CIFAR) == {}


def test_what_a_vision_transformer_is_built_with_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robench_fire.costs.estimate.forward_seconds", lambda *_: 1e-3)  # what it costs is no matter
    said = ran(tmp_path, "show", "fire", "digits", "--arch", "timm/vit_tiny_patch16_224").stdout
    assert "timm builds it with img_size 8, patch_size 2, untrained" in said


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_a_timm_model_is_tried_under_vmap(name: str) -> None:
    model = bare(f"timm/{name}", (1, 8, 8))
    assert cannot_stack(model, (1, 8, 8)) == ""
