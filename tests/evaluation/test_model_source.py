"""What can be evaluated and under which threat models: files, run folders, the zoo's models, and the options' texts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robench_fire.cli import main
from robench_fire.cli.options import radii, shard
from robench_fire.datasets import digits
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.model_source import ModelSource, model_sources, source_of
from robench_fire.evaluation.resumable import evaluate_source
from robench_fire.files import sha256
from robench_fire.models import architectures, robustbench_zoo
from robench_fire.problem.dataset import Split
from robench_fire.problem.settings import to_plain
from robench_fire.problem.threat import Linf, Threat
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Request, compose
from robench_fire.runs.folders import Run, read_json

CPU = torch.device("cpu")
HTML = b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"
SMALLEST = "Addepalli2021Towards_RN18"  # a ResNet-18, in the zoo once
CLAIM = Linf(eps=Quantity("8/255"))
Zoo = dict[tuple[str, str], dict[str, Any]]


def quiet(stage: str, done: int, total: int, note: str) -> None:
    pass


def initial(arch: str, shape: architectures.Shape) -> nn.Module:
    torch.manual_seed(3)
    return architectures.builder(arch, shape)(shape, 10).eval()


def same(model: nn.Module, weights: dict[str, Tensor]) -> bool:
    found = model.state_dict()
    return set(found) == set(weights) and all(torch.equal(found[name], weights[name]) for name in weights)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save(initial("digits-cnn", (1, 8, 8)).state_dict(), tmp_path / "mine.pt")
    return tmp_path / "mine.pt"


def named(text: str, dataset: str = "", arch: str = "", norm: str = "", folder: Path = Path("models")) -> ModelSource:
    (found,) = model_sources(text, dataset, arch, norm, folder)
    return found


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
    assert not given.notes


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
    assert "--key chooses" in taken.notes[0]
    (asked,) = model_sources(f"digits-cnn:{tmp_path}/two.pt", "digits", "", "", Path("models"), "", "ema")
    assert same(asked.load(CPU), averaged)
    assert asked.stem != taken.stem


@pytest.mark.parametrize("given", [{"how": "image"}, {"key": "ema"}])
@pytest.mark.parametrize("text", [".", "rb:Carmon2019Unlabeled"])
def test_what_knows_itself_is_not_told(text: str, given: dict[str, str], tmp_path: Path) -> None:
    text = str(tmp_path) if text == "." else text
    with pytest.raises(
        UsageError, match=f"knows its own weights and normalisation: leave out --{'n' if 'how' in given else 'k'}"
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


def claiming(claim: Threat, trained: Threat | None = None) -> ModelSource:
    """A source of which only the threat models matter."""
    return ModelSource(
        weights=Path("w"), stem=Path("w.eval"), dataset="cifar10", arch="resnet-18", normalise="none", claim=claim,
        trained=trained or claim,
    )  # fmt: skip


def texts(found: list[Threat]) -> list[tuple[str, str]]:
    return [(threat.norm, str(threat.eps)) for threat in found]


def test_several_radii_keep_their_texts() -> None:
    found = Evaluations(eps=radii("8/255, 0.031,8/255")).threats(claiming(CLAIM))
    assert texts(found) == [("Linf", "8/255"), ("Linf", "0.031")]
    assert found[0].eps != found[1].eps
    assert Evaluations().threats(claiming(CLAIM)) == [CLAIM]
    found = Evaluations(norm="L2", eps=("0.5", "1")).threats(claiming(CLAIM))
    assert [each.norm for each in found] == ["L2", "L2"]


def test_unless_asked_otherwise_the_claim_comes_first_and_then_what_was_trained_at() -> None:
    smaller, none = Linf(eps=Quantity("0.031")), Linf(eps=Quantity("0"))
    assert texts(Evaluations().threats(claiming(CLAIM, smaller))) == [("Linf", "8/255"), ("Linf", "0.031")]
    assert texts(Evaluations(norm="Linf").threats(claiming(CLAIM, smaller))) == [("Linf", "8/255"), ("Linf", "0.031")]
    assert texts(Evaluations(eps=("0.1",)).threats(claiming(CLAIM, smaller))) == [("Linf", "0.1")]
    assert texts(Evaluations().threats(claiming(CLAIM, none))) == [("Linf", "8/255")]
    assert texts(Evaluations().threats(claiming(none))) == [("Linf", "0")]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"defense": "trades", "profile": "official"}, [("Linf", "8/255"), ("Linf", "0.031")]),
        ({"defense": "trades"}, [("Linf", "8/255")]),
        ({"defense": "trades", "eps": "4/255"}, [("Linf", "4/255")]),
        ({"defense": "trades", "settings": (("--set", "threat.eps", "0"),)}, [("Linf", "8/255")]),
    ],
    ids=["official", "matched", "another radius", "no attack"],
)
def test_a_run_is_evaluated_at_its_claim_and_at_its_own_radius(
    asked: dict[str, Any], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    run = Run(tmp_path / "seed-0")
    run.write("plan.json", to_plain(compose(Request(dataset="cifar10", **asked)).plan))
    with pytest.raises(DataError, match="not here: bring it back"):
        source_of(run)
    run.weights.touch()
    assert texts(Evaluations().threats(source_of(run))) == expected


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Evaluations(norm="L2"), "--norm L2 needs --eps: the claim is Linf 8/255"),
        (Evaluations(eps=("8/255", "8")), "eps 8 is outside"),
        (Evaluations(eps=("-0.1",)), "eps -0.1 is outside"),
        (Evaluations(norm="L2", eps=("-1",)), "eps -1 is negative"),
        (Evaluations(eps=("nan",)), "'nan' is not a number"),
    ],
)
def test_a_radius_that_cannot_be_is_refused(wanted: Evaluations, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        wanted.threats(claiming(CLAIM))


def test_the_texts_of_shards_and_radii() -> None:
    assert [shard(text) for text in ("", "2/4", " 1 / 1 ")] == [None, (2, 4), (1, 1)]
    assert radii("") == ()
    assert radii("0.1,,0.10, 0.1") == ("0.1", "0.10")
    for text in ("0/4", "5/4", "x", "2/", "-1/4", "1/0", "1/4/2", "1.0/4"):
        with pytest.raises(UsageError, match="expected i/n"):
            shard(text)


def test_a_column_for_each_radius(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    monkeypatch.setenv("COLUMNS", "200")
    words = "eval mine.pt --dataset digits --arch digits-cnn --eps 0.1,0.2 --attack square --examples 20"
    assert robench(monkeypatch, *words.split()) == 0
    out = capsys.readouterr().out
    assert "20 test images" in out
    assert [out.count(f"Linf {eps}") for eps in ("0.1", "0.2")] == [1, 1]
    (row,) = [line.replace("│", " ").split() for line in out.splitlines() if "mine.pt" in line]
    stored = [read_json(Path(f"mine.pt.eval.square-Linf-{eps}-20.json")) for eps in ("0.1", "0.2")]
    assert row == ["mine.pt", f"{stored[0]['clean']:.2f}", *(f"{each['robust']:.2f}" for each in stored)]


def test_merging_a_shard_is_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"eval {checkpoint} --dataset digits --arch digits-cnn --merge --shard 1/2"
    assert robench(monkeypatch, *words.split()) == 2
    assert "leave out --shard" in capsys.readouterr().err


def robench(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["robench", *words])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as leaving:
        main()
    return int(leaving.value.code or 0)


@pytest.fixture(scope="module")
def entries() -> Zoo:
    return robustbench_zoo._models()


def test_the_zoo_is_searched_by_name(entries: Zoo) -> None:
    assert robustbench_zoo.find("Carmon2019Unlabeled", "", "") == ("cifar10", "Linf")
    assert robustbench_zoo.find("Standard", "cifar10", "L2") == ("cifar10", "L2")
    with pytest.raises(
        UsageError, match=r"more than once.* --dataset cifar10 --norm Linf, --dataset cifar10 --norm L2"
    ):
        robustbench_zoo.find("Standard", "cifar10", "")
    with pytest.raises(UsageError, match="near it are Carmon2019Unlabeled"):
        robustbench_zoo.find("Carmon2019Unlabelled", "", "")
    with pytest.raises(UsageError, match="zoo has no 'Carmon2019Unlabeled'"):
        robustbench_zoo.find("Carmon2019Unlabeled", "cifar100", "")


def test_a_name_of_the_zoo_names_a_model(entries: Zoo, tmp_path: Path) -> None:
    found = named("rb:Standard", "cifar10", norm="L2", folder=tmp_path)
    assert (found.dataset, found.claim.norm, str(found.claim.eps)) == ("cifar10", "L2", "0.5")
    assert found.weights == tmp_path / "cifar10" / "L2" / "Standard.pt"
    with pytest.raises(UsageError, match="unknown data set 'imagenet'"):
        named("rb:Salman2020Do_R18")


def test_an_ensemble_has_several_files_and_hashes(entries: Zoo, tmp_path: Path) -> None:
    paths = robustbench_zoo.files(tmp_path, "Chen2020Adversarial", "cifar10", "Linf")
    names = [f"Chen2020Adversarial.pt_m{number}.pt" for number in range(3)]
    assert paths == [tmp_path / "cifar10" / "Linf" / name for name in names]
    paths[0].parent.mkdir(parents=True)
    for path in paths:
        path.write_text(path.name)
    found = named("rb:Chen2020Adversarial", folder=tmp_path).sha256()
    assert found == "+".join(sha256(path) for path in paths)


def place(folder: Path) -> Path:
    return folder / "cifar10" / "Linf" / f"{SMALLEST}.pt"


def downloads(monkeypatch: pytest.MonkeyPatch, found: Callable[[Path], None]) -> None:
    monkeypatch.setattr("robustbench.utils.download_gdrive_new", lambda _, path: found(Path(path)))


@pytest.mark.parametrize("there", [True, False])
def test_a_model_of_the_zoo_is_evaluated(
    there: bool, entries: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(4)
    original = entries["cifar10", "Linf"][SMALLEST]["model"]().eval()

    def arrives(path: Path) -> None:
        torch.save({f"module.{name}": value for name, value in original.state_dict().items()}, path)

    def unwanted(path: Path) -> None:
        raise AssertionError("it is there")

    downloads(monkeypatch, unwanted if there else arrives)
    if there:
        place(tmp_path).parent.mkdir(parents=True)
        arrives(place(tmp_path))
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        logits = original(images / 255)
    source, wanted = named(f"rb:{SMALLEST}", folder=tmp_path), Evaluations(attacks=("pgd20",), eps=("0",))
    test = Split(images, logits.argmax(1))
    (facts,) = evaluate_source(source, test, wanted, CPU, quiet)
    assert (facts["arch"], facts["clean"], facts["robust"]) == (f"rb:{SMALLEST}", 100.0, 100.0)
    assert facts["weights_sha256"] == sha256(place(tmp_path))
    assert read_json(place(tmp_path).with_name(f"{SMALLEST}.pt.eval.pgd20-Linf-0-6.json")) == facts
    with torch.no_grad():
        assert torch.equal(source.load(CPU)(images / 255), logits)


def fails(path: Path) -> None:
    raise OSError("no network")


@pytest.mark.parametrize(
    ("download", "said"),
    [
        (fails, r"cannot be loaded \(OSError: no network\); download it from the zoo's page to {path}"),
        (lambda path: path.write_bytes(HTML), "{path} is an HTML page"),
        (lambda path: path.write_bytes(b"half"), r"cannot be loaded \(\w+: .*is {path} the right file"),
    ],
    ids=["no network", "html", "half a file"],
)
def test_a_model_that_cannot_be_downloaded_is_said_with_its_place(
    download: Callable[[Path], None], said: str, entries: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads(monkeypatch, download)
    with pytest.raises(DataError, match=said.format(path=place(tmp_path))):
        robustbench_zoo.load(tmp_path, SMALLEST, "cifar10", "Linf")
    nothing = Split(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(DataError, match=said.format(path=place(tmp_path))):
        evaluate_source(named(f"rb:{SMALLEST}", folder=tmp_path), nothing, Evaluations(), CPU, quiet)


def test_a_web_page_in_the_place_of_a_model_is_refused(entries: Zoo, tmp_path: Path) -> None:
    place(tmp_path).parent.mkdir(parents=True)
    place(tmp_path).write_bytes(HTML)
    with pytest.raises(DataError, match=f"{place(tmp_path)} is an HTML page saved under this name"):
        named(f"rb:{SMALLEST}", folder=tmp_path).load(CPU)
