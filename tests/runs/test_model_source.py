"""What can be evaluated: files, run folders, and what names neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from weights_to_evaluate import CPU, initial, named

from robench_fire.datasets import digits
from robench_fire.errors import DataError, UsageError
from robench_fire.files import sha256
from robench_fire.models import architectures
from robench_fire.runs.model_source import model_sources, source_from_file


def same(model: nn.Module, weights: dict[str, Tensor]) -> bool:
    found = model.state_dict()
    return set(found) == set(weights) and all(torch.equal(found[name], weights[name]) for name in weights)


def test_arch_and_file_in_one_word_are_the_two_options(checkpoint: Path) -> None:
    short = named(f"digits-cnn:{checkpoint}", "digits")
    assert short == named(str(checkpoint), "digits", "digits-cnn")
    assert short.run is None
    assert short.stem == checkpoint.with_name("mine.pt.eval")
    assert short.claim == next(iter(digits.DATASET.recipes))
    assert short.sha256() == sha256(checkpoint)
    assert same(short.load(CPU), initial("digits-cnn", (1, 8, 8)).state_dict())


@pytest.mark.parametrize("arch", ["wrn-10-1", "wrn-40-2", "resnet-18", "preact-resnet-18", "timm/resnet18"])
def test_every_architecture_can_stand_before_a_file(arch: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in architectures.shapes(arch, (3, 32, 32), 10).items()}, path)
    found = named(f"{arch}:{path}", "cifar10")
    assert (found.arch, found.weights, found.dataset) == (arch, path, "cifar10")


def test_a_wide_resnet_loads_by_its_name(tmp_path: Path) -> None:
    model = initial("wrn-10-1", (3, 32, 32))
    save_file(model.state_dict(), tmp_path / "wide.safetensors")
    assert same(named(f"wrn-10-1:{tmp_path}/wide.safetensors", "cifar10").load(CPU), model.state_dict())
    with pytest.raises(DataError, match="does not fit the architecture"):
        named(f"wrn-16-1:{tmp_path}/wide.safetensors", "cifar10").load(CPU)


def test_a_colon_after_anything_else_belongs_to_the_path(tmp_path: Path) -> None:
    torch.save(initial("digits-cnn", (1, 8, 8)).state_dict(), tmp_path / "epoch:76")
    assert named(f"{tmp_path}/epoch:76", "digits", "digits-cnn").weights == tmp_path / "epoch:76"


def test_another_architecture_that_fits_is_named(tmp_path: Path) -> None:
    torch.save(initial("resnet-18", (3, 32, 32)).state_dict(), tmp_path / "mine.pt")
    with pytest.raises(DataError, match=r"does not fit the architecture: .*; it is resnet-18: say --arch resnet-18$"):
        named(f"wrn-28-10:{tmp_path}/mine.pt", "cifar10")


def normalised(how: str, folder: Path) -> tuple[Path, Path, nn.Module]:
    """A network behind a layer that normalises: its file, that of the network alone, and itself."""
    parts = digits.DATASET
    torch.manual_seed(3)
    model = architectures.build("digits-cnn", parts.shape, 10, how, parts.mean, parts.std).eval()
    torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, folder / "in.pt")
    torch.save({"net": model[1].state_dict()}, folder / "out.pt")  # type: ignore[index]
    return folder / "in.pt", folder / "out.pt", model


@pytest.mark.parametrize("how", ["dataset", "0.25:0.5"])
def test_a_first_layer_in_the_file_is_part_of_the_model(how: str, tmp_path: Path) -> None:
    inside, outside, model = normalised(how, tmp_path)
    x = torch.rand(4, 1, 8, 8)
    found = named(f"digits-cnn:{inside}", "digits")
    assert torch.equal(found.load(CPU)(x), model(x))
    assert "normalises images by its first layer" in found.notes[0]
    with pytest.raises(UsageError, match=r"holds its own normalisation, .*; leave --normalise out"):
        model_sources(f"digits-cnn:{inside}", "digits", "", "", Path("models"), "none")
    (given,) = model_sources(f"digits-cnn:{outside}", "digits", "", "", Path("models"), how)
    assert torch.equal(given.load(CPU)(x), model(x))
    assert given.normalise == how
    assert given.notes == (f"{outside}: the weights at net were taken",)


def test_each_images_own_normalisation_leaves_no_trace_but_its_place(tmp_path: Path) -> None:
    inside, _, model = normalised("image", tmp_path)
    assert "--normalise image" in named(f"digits-cnn:{inside}", "digits").notes[0]
    (given,) = model_sources(f"digits-cnn:{inside}", "digits", "", "", Path("models"), "image")
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(given.load(CPU)(x), model(x))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("imagenet", "'imagenet' is none of none, dataset, image, or MEAN:STD"),
        ("0.5,0.5,0.5:0.5", "3 means and 1 deviations; the images have 1 channels"),
        ("127.5:127.5", "is of pixels from 0 to 255, and images here are in .0, 1.: say 0.5:0.5"),
        ("0.5:0", "a standard deviation must be above 0"),
        ("0.5:", "is none of none"),
    ],
)
def test_a_normalisation_that_is_none_is_refused(how: str, said: str, tmp_path: Path) -> None:
    _, outside, _ = normalised("dataset", tmp_path)
    with pytest.raises(UsageError, match=f"--normalise .*{said}"):
        model_sources(f"digits-cnn:{outside}", "digits", "", "", Path("models"), how)


def test_averaged_weights_are_evaluated_under_a_name_of_their_own(tmp_path: Path) -> None:
    plain, averaged = initial("digits-cnn", (1, 8, 8)).state_dict(), initial("digits-cnn", (1, 8, 8)).state_dict()
    averaged["classifier.2.bias"] += 1
    torch.save({"ema": averaged, "model": plain}, tmp_path / "two.pt")
    taken = named(f"digits-cnn:{tmp_path}/two.pt", "digits")
    assert same(taken.load(CPU), plain)
    assert "model were taken" in taken.notes[0]
    assert "--checkpoint-key chooses" in taken.notes[0]
    (asked,) = model_sources(f"digits-cnn:{tmp_path}/two.pt", "digits", "", "", Path("models"), "", "ema")
    assert same(asked.load(CPU), averaged)
    assert asked.stem != taken.stem


@pytest.mark.parametrize("given", [{"how": "image"}, {"key": "ema"}])
@pytest.mark.parametrize("text", [".", "rb:Carmon2019Unlabeled"])
def test_what_knows_itself_is_not_told(text: str, given: dict[str, str], tmp_path: Path) -> None:
    text = str(tmp_path) if text == "." else text
    with pytest.raises(
        UsageError, match=f"knows its own weights and normalisation: leave out --{'n' if 'how' in given else 'c'}"
    ):
        model_sources(text, "", "", "", Path("models"), **given)


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("mine.safetensors", None),
        ("mine.pt", lambda weights: weights),
        ("mine.pth", lambda weights: {"state_dict": {f"module.{key}": value for key, value in weights.items()}}),
    ],
)
def test_every_kind_of_file_is_the_same_model(name: str, wrap: Callable[..., object] | None, tmp_path: Path) -> None:
    weights = initial("digits-cnn", (1, 8, 8)).state_dict()
    if wrap is None:
        save_file(weights, tmp_path / name)
    else:
        torch.save(wrap(weights), tmp_path / name)
    assert same(named(f"digits-cnn:{tmp_path / name}", "digits").load(CPU), weights)


@pytest.mark.parametrize(
    ("text", "dataset", "arch", "fault", "said"),
    [
        ("absent.pt", "digits", "digits-cnn", DataError, "absent.pt does not exist; `robench ls runs`"),
        ("digits-cnn:absent.pt", "digits", "", DataError, "absent.pt does not exist"),
        (
            "mine.pt",
            "",
            "",
            UsageError,
            r"--dataset \(cifar10, .*, mnist\) and its architecture with --arch, or as ARCH:FILE",
        ),
        ("mine.pt", "digits", "", UsageError, "is a file: say its architecture with --arch, or as ARCH:FILE"),
        ("mine.pt", "", "digits-cnn", UsageError, r"is a file: say its data set with --dataset \(cifar10, .*\)$"),
        ("digits-cnn:mine.pt", "", "", UsageError, r"is a file: say its data set with --dataset \(cifar10, .*\)$"),
        (".", "digits", "", UsageError, "leave out --dataset and --arch"),
        (".", "", "digits-cnn", UsageError, "leave out --dataset and --arch"),
        ("digits-cnn:.", "", "", UsageError, "leave out --dataset and --arch"),
        (".", "", "", DataError, "holds no trained run"),
    ],
)
def test_what_names_nothing_to_evaluate(
    text: str, dataset: str, arch: str, fault: type[Exception], said: str, checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(checkpoint.parent)
    with pytest.raises(fault, match=said):
        model_sources(text, dataset, arch, "", Path("models"))


def test_a_copied_runs_folder_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "plan.json").write_text("{}")
    with pytest.raises(DataError, match=r"first is not named seed-N, as a run's folder must be"):
        model_sources(str(tmp_path / "first"), "", "", "", tmp_path)


def test_files_read_otherwise_keep_results_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(initial("digits-cnn", (1, 8, 8)).state_dict(), path)
    stems = [source_from_file(path, "digits", "digits-cnn", how).stem.name for how in ("", "none", "image", "0.5:0.5")]
    assert stems == ["net.pt.eval", "net.pt.eval", "net.pt.normalise-image.eval", "net.pt.normalise-0.5_0.5.eval"]
