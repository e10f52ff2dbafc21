"""Prepared images as a data set: from a plan alone, with CIFAR's protocol, or a line that says what is missing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from own_images import arrays, class_folders, npz, prepared
from plans import plan
from repository import ROOT

from robench_fire.data import fetching
from robench_fire.data.own import stored
from robench_fire.data.own.dataset import known, radius
from robench_fire.datasets import cifar10
from robench_fire.errors import DataError, RecipeError
from robench_fire.problem.own_data import OwnData, own_data
from robench_fire.problem.plan import fingerprint
from robench_fire.problem.settings import to_plain
from robench_fire.problem.threat import L2, Linf
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Request, compose

EPS = Quantity("8/255")


@pytest.fixture
def own(tmp_path: Path) -> OwnData:
    return prepared(class_folders(tmp_path / "numbers"), tmp_path)


def test_the_protocol_is_that_of_cifar(own: OwnData) -> None:
    colour = replace(own, shape=(3, 32, 32))
    recipe = known("numbers", colour, EPS).recipes[Linf(eps=EPS)]
    assert recipe == replace(cifar10.RECIPES[Linf(eps=EPS)], arch="resnet-18")
    assert known("numbers", colour, EPS).recipes[L2(eps=EPS)] == recipe


@pytest.mark.parametrize(
    ("shape", "arch", "pad", "flip"),
    [((3, 32, 32), "resnet-18", 4, True), ((1, 28, 28), "small-cnn", 3, False), ((1, 8, 8), "digits-cnn", 1, False),
     ((3, 64, 64), "timm/resnet18", 8, True), ((1, 32, 32), "timm/resnet18", 4, False)],
)  # fmt: skip
def test_the_network_and_the_views_follow_the_size(
    shape: tuple[int, int, int], arch: str, pad: int, flip: bool, own: OwnData
) -> None:
    made = compose(Request(defense="fire", dataset="numbers", eps="4/255", data=replace(own, shape=shape)))
    recipe = made.plan.recipe
    assert (recipe.arch, recipe.augment.pad, recipe.augment.flip) == (arch, pad, flip)
    assert recipe.attack is not None
    assert (recipe.attack.steps, str(recipe.attack.step)) == (10, "1/255")


def test_bundled_data_sets_say_nothing_of_it() -> None:
    board = json.loads((ROOT / "leaderboards" / "digits" / "Linf" / "Picot2021Adversarial.json").read_text())
    assert "data" not in to_plain(plan("fire", "digits"))
    assert fingerprint(plan("fire", "digits")) == board["robench_fire"]["fingerprint"]


def test_a_plan_holds_all_but_the_images(own: OwnData, tmp_path: Path) -> None:
    made = compose(Request(defense="fire", dataset="numbers", eps="0.2", data=own))
    again = own_data(json.loads(json.dumps(to_plain(made.plan)))["data"])
    assert again == own
    splits = fetching.splits("numbers", known("numbers", again), tmp_path)
    assert [len(each.labels) for each in splits] == [own.train, own.validation, own.test]
    other = compose(Request(defense="fire", dataset="numbers", eps="0.2", data=replace(own, sha256="0" * 64)))
    assert fingerprint(other.plan) != fingerprint(made.plan)


def test_every_value_says_where_it_comes_from(own: OwnData) -> None:
    made = compose(Request(defense="fire", dataset="numbers", eps="0.2", data=own))
    said = {path: source for path, _, source in made.sources()}
    assert {said[path] for path in ("threat.eps", "claim.eps")} == {"--eps"}
    rest = {path: source for path, source in said.items() if path.startswith(("data.", "recipe.attack", "recipe.arch"))}
    rest.pop("recipe.attack_precision")
    assert set(rest.values()) == {"own data (docs/own-data.md)"}


@pytest.mark.parametrize(
    ("text", "norm", "said"),
    [("", "Linf", r"have no usual radius: say --eps; 8/255 is usual for CIFAR, 4/255 for ImageNet, 0.3 for MNIST"),
     ("4", "Linf", r"--eps 4 is outside \[0, 1\], the range of a pixel; for 4 of 255 grey levels say --eps 4/255"),
     ("-1/255", "Linf", r"--eps -1/255 is outside"), ("big", "Linf", r"--eps 'big' is not a number")],
)  # fmt: skip
def test_a_radius_must_be_said(text: str, norm: str, said: str, own: OwnData) -> None:
    with pytest.raises(RecipeError, match=said):
        compose(Request(defense="fire", dataset="numbers", eps=text, norm=norm, data=own))


def test_l2_radii_may_be_large(own: OwnData) -> None:
    assert radius("3", "L2") == 3
    made = compose(Request(defense="fire", dataset="numbers", eps="3", norm="L2", data=own)).plan
    assert made.recipe.attack is not None
    assert made.recipe.attack.step == float(Fraction(3, 4))
    assert compose(Request(defense="fire", dataset="numbers", eps="0", data=own)).plan.threat.eps == 0


def test_images_that_are_not_there(own: OwnData, tmp_path: Path) -> None:
    dataset = known("numbers", own)
    with pytest.raises(DataError, match=r"are needed, and they are not in .*; run `robench data PATH --data-dir "):
        fetching.splits("numbers", dataset, tmp_path / "elsewhere")
    resized = known("numbers", replace(own, sha256="0" * 64, resize=32))
    with pytest.raises(
        DataError, match=rf"only others of that name \({own.sha256[:16]}\) are .* data PATH --resize 32"
    ):
        fetching.splits("numbers", resized, tmp_path)


def test_images_that_are_others(own: OwnData, tmp_path: Path) -> None:
    place = stored.place_of(tmp_path, own.name, own.sha256)
    other = prepared(npz(tmp_path, **arrays(each=4)), tmp_path)
    shutil.copy(stored.place_of(tmp_path, other.name, other.sha256) / "train.images.npy", place)
    with pytest.raises(DataError, match=r"train\.\*\.npy are not what dataset\.json says; move .* away and prepare"):
        fetching.splits("numbers", known("numbers", own), tmp_path)
    (place / "test.images.npy").write_bytes(b"")
    (place / "train.images.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"train\.images\.npy cannot be read"):
        fetching.splits("numbers", known("numbers", own), tmp_path)
    (place / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match=r"dataset\.json cannot be read .*; move .* away and prepare it again"):
        fetching.splits("numbers", known("numbers", own), tmp_path)
