"""Plans: typed overrides, one fingerprint for one plan, and a source for every value."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from robench_fire.defenses import fire

from robench_fire.errors import DataError, RecipeError, UsageError
from robench_fire.problem.pgd import Pgd
from robench_fire.problem.plan import Plan, fingerprint, override
from robench_fire.problem.recipe import Adam, Cosine, Cyclic, Extra, Recipe, Sgd, Steps
from robench_fire.problem.settings import leaves, to_plain
from robench_fire.problem.threat import L2
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Composed, Request, by_hand, compose

THREAT_MODEL = "the data set's threat model (docs/data.md)"


def composed(defense: str = "fire", dataset: str = "cifar10", **asked: Any) -> Composed:
    return compose(Request(defense=defense, dataset=dataset, **asked))


def plan(defense: str = "fire", dataset: str = "cifar10", **asked: Any) -> Plan:
    return composed(defense, dataset, **asked).plan


def value(owner: object, path: str) -> Any:
    for name in path.split("."):
        owner = getattr(owner, name)
    return owner


def source(found: Composed, path: str) -> str:
    return {each: where for each, _, where in found.sources()}[path]


def extra_file(folder: Path) -> Path:
    path = folder / "extra.npz"
    path.write_bytes(b"only its hash is in the plan")
    return path


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("defense.lam", "6", 6.0),
        ("defense.lam", "1/3", 1 / 3),
        ("defense.lam", "1e-2", 0.01),
        ("defense.lam", " 2.5 ", 2.5),
        ("defense.distance", "geodesic", "geodesic"),
        ("threat.eps", "4/255", Quantity("4/255")),
        ("threat.eps", "0.031", Quantity("0.031")),
        ("claim.eps", "4/255", Quantity("4/255")),
        ("recipe.arch", "resnet-18", "resnet-18"),
        ("recipe.attack.steps", "40", 40),
        ("recipe.attack.step", "0.007", Quantity("0.007")),
        ("recipe.attack.start", "uniform", "uniform"),
        ("recipe.attack", "none", None),
        ("recipe.attack", "None", None),
        ("recipe.attack_mode", "train", "train"),
        ("recipe.passes", "adv", ("adv",)),
        ("recipe.passes", "clean, adv, clean", ("clean", "adv", "clean")),
        ("recipe.epochs", "30", 30),
        ("recipe.optimiser", "adam", Adam()),
        ("recipe.optimiser", "Sgd", Sgd()),
        ("recipe.optimiser.lr", "1/10", 0.1),
        ("recipe.optimiser.nesterov", "false", False),
        ("recipe.optimiser.nesterov", "True", True),
        ("recipe.schedule", "cosine", Cosine()),
        ("recipe.schedule", "steps", Steps()),
        ("recipe.schedule.at", "0.5,3/4", (0.5, 0.75)),
        ("recipe.schedule.at", "0.5", (0.5,)),
        ("recipe.schedule.at", "1", (1.0,)),
        ("recipe.schedule.at", "", ()),
        ("recipe.augment.pad", "0", 0),
        ("recipe.augment.flip", "FALSE", False),
        ("recipe.augment.jitter", "1", 1.0),
        ("recipe.normalise", "image", "image"),
        ("recipe.ema_decay", "0.995", 0.995),
        ("recipe.ema_decay", "none", None),
        ("recipe.select", "validation", "validation"),
        ("recipe.extra", "extra", Extra()),
        ("recipe.extra", "none", None),
    ],
)
def test_an_override_is_read_as_the_type_of_its_leaf(path: str, text: str, expected: object) -> None:
    found = value(override(plan(), path, text), path)
    assert found == expected
    assert type(found) is type(expected)
    assert str(found) == str(expected)


def test_an_override_changes_nothing_else() -> None:
    before = plan()
    after = override(before, "recipe.attack.steps", "11")
    assert before.recipe.attack == Pgd(steps=10, step=Quantity("2/255"))
    assert after == before.with_attack(steps=11)


def test_an_override_reaches_inside_targets() -> None:
    assert value(override(plan("fire-sa"), "defense.targets.start", "0.5"), "defense.targets.start") == 0.5


@given(st.integers(1, 20), st.integers(255, 10_000))
def test_a_fraction_keeps_its_text(above: int, below: int) -> None:
    found = override(plan(), "threat.eps", f"{above}/{below}")
    assert str(found.threat.eps) == to_plain(found)["threat"]["eps"] == f"{above}/{below}"
    assert float(found.threat.eps) == float(Fraction(above, below))


@given(st.floats(0, 1e6, allow_subnormal=False))
def test_every_float_survives_its_text(lam: float) -> None:
    assert override(plan(), "defense.lam", repr(lam)).defense.lam == lam  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "near", "listed"),
    [
        ("defense.lamb", "lam", ["distance", "lam", "targets"]),
        ("defense.beta", "", ["distance", "lam", "targets"]),
        ("threat.epsilon", "eps", ["eps"]),
        ("threat.norm", "", ["eps"]),
        ("claim.epsilon", "eps", ["eps"]),
        ("recipe.epoch", "epochs", ["arch", "attack", "epochs", "schedule"]),
        ("recipe.attack.stepsize", "steps", ["start", "step", "steps"]),
        ("recipe.optimizer.lr", "optimiser", ["optimiser"]),
        ("recipe.optimiser.betas", "", ["lr", "momentum", "nesterov"]),
        ("recipe..epochs", "", ["epochs"]),
    ],
)
def test_an_unknown_field_lists_the_fields(path: str, near: str, listed: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        override(plan(), path, "1")
    message = str(caught.value)
    assert message.startswith(f"{path}: unknown field of ")
    assert (f"did you mean {near}? choose from" if near else ": choose from") in message
    assert set(listed) <= set(message.rpartition("choose from ")[2].split(", "))


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "epochs", "lam", "name", "dataset", "profile", "code", "recipes.epochs", "plan.recipe.epochs"),
        *("defense", "threat", "claim", "recipe", "recipe."),
    ],
)
def test_only_fields_of_defense_threat_claim_and_recipe_are_set(path: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(plan(), path, "1")
    assert str(caught.value).startswith(f"unknown setting {path!r}: ")
    assert str(caught.value).endswith("`robench show fire cifar10` lists them all")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("lam", "defense.lam"),
        ("epochs", "recipe.epochs"),
        ("epoch", "recipe.epochs"),
        ("batch-size", "recipe.batch_size"),
        ("steps", "recipe.attack.steps"),
        ("optimizer.lr", "recipe.optimiser.lr"),
        ("recipes.epochs", "recipe.epochs"),
        ("plan.recipe.epochs", "recipe.epochs"),
        ("eps", "threat.eps or claim.eps"),
    ],
)
def test_a_bare_or_misspelt_name_leads_to_the_setting_that_is_meant(path: str, meant: str) -> None:
    with pytest.raises(RecipeError, match=rf"did you mean {meant}\?"):
        override(plan(), path, "1")


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("recipe.epochs", "3.5", "expected an integer, got '3.5'"),
        ("recipe.epochs", "many", "expected an integer, got 'many'"),
        ("recipe.epochs", "", "expected an integer, got ''"),
        ("recipe.epochs", "none", "expected an integer, got 'none'"),
        ("defense.lam", "strong", "'strong' is not a number; write it like 8/255 or 0.031"),
        ("defense.lam", "nan", "'nan' is not a number; write it like 8/255 or 0.031"),
        ("defense.lam", "inf", "'inf' is not a number; write it like 8/255 or 0.031"),
        ("threat.eps", "8/0", "'8/0' is not a number; write it like 8/255 or 0.031"),
        ("threat.eps", "8:255", "'8:255' is not a number; write it like 8/255 or 0.031"),
        ("recipe.optimiser.nesterov", "yes", "expected true or false"),
        ("recipe.select", "valid", "unknown value 'valid': did you mean validation? choose from last, validation"),
        ("recipe.passes", "clean,noisy", "unknown value 'noisy': choose from adv, clean"),
        ("recipe.schedule", "cosin", "unknown kind 'cosin': did you mean cosine? choose from cosine, cyclic, steps"),
        ("recipe.optimiser", "lion", "unknown kind 'lion': choose from adam, sgd"),
        ("recipe.attack", "pgd", "Pgd has fields without a default; set those one by one"),
        ("defense.targets", "hardlabels", "cannot be set as a whole"),
    ],
)
def test_a_value_of_another_type_is_refused(path: str, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(plan(), path, text)
    assert str(caught.value).startswith(f"{path}={text}: {said}")


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("recipe.epochs", "0", "epochs 0: must be at least 1"),
        ("recipe.epochs", "-3", "epochs -3: must be at least 1"),
        ("recipe.batch_size", "0", "batch_size 0: must be at least 1"),
        ("recipe.optimiser.lr", "0", "lr 0.0: must be positive"),
        ("recipe.passes", "", "passes (): choose from clean and adv"),
        ("recipe.ema_decay", "1", "ema_decay 1.0: must lie strictly between 0 and 1"),
        ("recipe.attack.steps", "0", "steps 0: an attack needs at least 1 step"),
        ("recipe.attack.step", "0", "step 0: a step must be positive"),
        ("recipe.attack.step", "-1/255", "step -1/255: a step must be positive"),
        ("claim.eps", "8", "eps 8 is outside [0, 1], the range of a pixel; CIFAR uses 8/255"),
        ("defense.lam", "-1", "lam -1.0: a coefficient must not be negative"),
        ("defense.lam", "-1e-9", "lam -1e-09: a coefficient must not be negative"),
        ("recipe.optimiser.momentum", "1", "momentum 1.0 or weight_decay 0.0005 is out of range"),
        ("recipe.optimiser.momentum", "-0.1", "momentum -0.1 or weight_decay 0.0005 is out of range"),
        ("recipe.optimiser.momentum", "0", "nesterov needs a momentum; set nesterov=false first"),
        ("recipe.optimiser.weight_decay", "-1e-4", "momentum 0.9 or weight_decay -0.0001 is out of range"),
        ("recipe.schedule.at", "0,0.5", "at (0.0, 0.5): shares of the epochs, between 0 and 1"),
        ("recipe.schedule.at", "0.5,1.5", "at (0.5, 1.5): shares of the epochs, between 0 and 1"),
        ("recipe.schedule.at", "-0.5", "at (-0.5,): shares of the epochs, between 0 and 1"),
        ("recipe.augment.pad", "-1", "augment: pad -1, rotate 0.0 or jitter 0.0 is out of range"),
        ("recipe.augment.rotate", "-15", "augment: pad 4, rotate -15.0 or jitter 0.0 is out of range"),
        ("recipe.augment.jitter", "-0.1", "augment: pad 4, rotate 0.0 or jitter -0.1 is out of range"),
        ("recipe.augment.jitter", "1.5", "augment: pad 4, rotate 0.0 or jitter 1.5 is out of range"),
        ("threat.eps", "8", "eps 8 is outside [0, 1], the range of a pixel; CIFAR uses 8/255"),
        ("threat.eps", "-0.1", "eps -0.1 is outside [0, 1], the range of a pixel; CIFAR uses 8/255"),
    ],
)
def test_a_value_that_cannot_be_run_is_refused(path: str, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(plan(), path, text)
    assert str(caught.value).startswith(f"{path}={text}: {said}")


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("recipe.attack.steps", "3", "3 steps of 2/255 cannot reach eps 8/255"),
        ("recipe.attack.step", "0.003", "10 steps of 0.003 cannot reach eps 8/255"),
        ("threat.eps", "21/255", "10 steps of 2/255 cannot reach eps 21/255"),
    ],
)
def test_steps_that_cannot_reach_the_boundary_are_refused_once_the_plan_is_whole(
    path: str, text: str, said: str
) -> None:
    changed = override(plan(), path, text)
    assert str(value(changed, path)) == text
    for refuse in (changed.check, lambda: plan(settings=(("--set", path, text),))):
        with pytest.raises(RecipeError) as caught:
            refuse()
        assert str(caught.value) == f"{said}: raise recipe.attack.steps or recipe.attack.step"


@pytest.mark.parametrize(
    ("path", "text"), [("recipe.attack.steps", "4"), ("threat.eps", "20/255"), ("threat.eps", "0")]
)
def test_steps_that_just_reach_the_boundary_are_accepted(path: str, text: str) -> None:
    assert str(value(plan(settings=(("--set", path, text),)), path)) == text


@pytest.mark.parametrize(
    "settings",
    [
        (("recipe.attack.steps", "1"), ("recipe.attack.step", "8/255")),
        (("threat.eps", "32/255"), ("recipe.attack.step", "4/255")),
        (("recipe.attack.step", "1/255"), ("threat.eps", "8/255"), ("recipe.attack.steps", "8")),
    ],
)
def test_settings_may_be_impossible_on_the_way_to_a_plan(settings: tuple[tuple[str, str], ...]) -> None:
    for order in (settings, settings[::-1]):
        found = plan(settings=tuple(("--set", *each) for each in order))
        assert [str(value(found, path)) for path, _ in settings] == [text for _, text in settings]


def test_a_pass_may_be_left_out_on_the_way_to_a_plan() -> None:
    there_and_back = (("--set", "recipe.passes", "adv"), ("--set", "recipe.passes", "clean,adv"))
    assert plan(settings=there_and_back) == plan()


@pytest.mark.parametrize(
    ("defense", "passes", "said"),
    [
        ("fire", "adv", "recipe.passes adv: the loss of fire reads clean and adv"),
        ("fire", "clean, clean", "recipe.passes clean, clean: the loss of fire reads clean and adv"),
        ("mart", "clean", "recipe.passes clean: the loss of mart reads clean and adv"),
        ("self-adaptive", "adv", "recipe.passes adv: the loss of self_adaptive reads clean and adv"),
        ("madry", "clean", "recipe.passes clean: the loss of madry reads adv"),
    ],
)
def test_a_pass_that_the_loss_reads_may_not_be_left_out(defense: str, passes: str, said: str) -> None:
    changed = override(plan(defense), "recipe.passes", passes)
    for refuse in (changed.check, lambda: plan(defense, settings=(("--set", "recipe.passes", passes),))):
        with pytest.raises(RecipeError) as caught:
            refuse()
        assert str(caught.value) == said


def test_a_loss_of_perturbed_images_only_does_without_the_clean_pass() -> None:
    assert plan("madry", settings=(("--set", "recipe.passes", "adv"),)).recipe.passes == ("adv",)


def test_other_refusals_of_values() -> None:
    with pytest.raises(RecipeError, match=r"momentum 0\.9 and start 2\.0 must lie in \[0, 1\]"):
        override(plan("fire-sa"), "defense.targets.start", "2")
    with pytest.raises(RecipeError, match=r"hidden 1\.0 and share 0\.5 must lie strictly between 0 and 1"):
        override(plan("rst-adv"), "recipe.extra.hidden", "1")
    with pytest.raises(RecipeError, match=r"extra\.share 0\.001 of a batch of 256 leaves one kind out"):
        override(plan("rst-adv"), "recipe.extra.share", "0.001")
    with pytest.raises(RecipeError, match=r"extra\.share 0\.5 of a batch of 1 leaves one kind out"):
        override(plan("rst-adv"), "recipe.batch_size", "1")


def test_nesterov_is_switched_off_before_the_momentum() -> None:
    plain = override(override(plan(), "recipe.optimiser.nesterov", "false"), "recipe.optimiser.momentum", "0")
    assert plain.recipe.optimiser == Sgd(momentum=0, nesterov=False)
    with pytest.raises(RecipeError, match="nesterov=true: nesterov needs a momentum"):
        override(plain, "recipe.optimiser.nesterov", "true")


def test_extra_data_from_a_file_need_the_file(tmp_path: Path) -> None:
    said = r"^recipe\.extra\.source=file needs --extra-data FILE; docs/data\.md describes the layouts$"
    with pytest.raises(RecipeError, match=said):
        plan("rst-adv", settings=(("--set", "recipe.extra.source", "file"),))
    with pytest.raises(RecipeError, match=said):
        plan(settings=(("--set", "recipe.extra", "extra"), ("--set", "recipe.extra.source", "file")))
    path = extra_file(tmp_path)
    same = plan("rst-adv", extra_data=path, settings=(("--set", "recipe.extra.source", "file"),))
    assert same == plan("rst-adv", extra_data=path)


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("recipe.extra.share", "none"),
        ("recipe.epochs.more", "int"),
        ("defense.targets.momentum", "HardLabels"),
    ],
)
def test_a_leaf_has_no_fields(path: str, owner: str) -> None:
    with pytest.raises(RecipeError, match=f"{path}: {owner} has no settings of its own"):
        override(plan(), path, "1")


def test_fields_follow_the_kind_that_was_chosen() -> None:
    cosine = override(plan(), "recipe.schedule", "cosine")
    with pytest.raises(RecipeError, match="Cosine has no settings of its own"):
        override(cosine, "recipe.schedule.factor", "0.2")
    adam = override(plan(), "recipe.optimiser", "adam")
    with pytest.raises(RecipeError, match="unknown field of Adam 'momentum': choose from lr"):
        override(adam, "recipe.optimiser.momentum", "0.9")
    assert override(adam, "recipe.optimiser.lr", "0.01").recipe.optimiser == Adam(lr=0.01)


def test_plain_values_say_their_kind_and_keep_their_text() -> None:
    plain = to_plain(plan())
    assert plain["kind"] == "Plan"
    assert plain["code"] == ""
    assert plain["defense"] == {
        "kind": "Fire",
        "targets": {"kind": "HardLabels"},
        "lam": 12.0,
        "distance": "half-angle",
    }
    assert plain["threat"] == plain["claim"] == {"kind": "Linf", "eps": "8/255"}
    assert plain["recipe"]["attack"] == {"kind": "Pgd", "steps": 10, "step": "2/255", "start": "gaussian"}
    assert plain["recipe"]["passes"] == ["clean", "adv"]
    assert plain["recipe"]["extra"] is None
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_leaves_are_every_value_and_the_kinds_that_stand_for_values() -> None:
    found = dict(leaves(to_plain(plan())))
    assert found["defense.lam"] == 12.0
    assert found["threat.eps"] == "8/255"
    assert found["recipe.passes"] == ["clean", "adv"]
    assert found["recipe.extra"] is None
    assert found["recipe.attack"] == "Pgd"
    assert found["defense.targets"] == "HardLabels"
    assert dict(leaves(to_plain(override(plan(), "recipe.schedule", "cosine"))))["recipe.schedule"] == "Cosine"
    assert not {"", "kind", "defense", "recipe", "threat"} & set(found)


OTHER = {
    "defense.lam": "6",
    "defense.distance": "geodesic",
    "threat.eps": "7/255",
    "claim.eps": "7/255",
    "recipe.arch": "resnet-18",
    "recipe.attack": "none",
    "recipe.attack.steps": "11",
    "recipe.attack.step": "3/255",
    "recipe.attack.start": "zero",
    "recipe.attack_mode": "train",
    "recipe.passes": "adv,clean",
    "recipe.epochs": "99",
    "recipe.batch_size": "128",
    "recipe.optimiser": "adam",
    "recipe.optimiser.lr": "0.01",
    "recipe.optimiser.momentum": "0.8",
    "recipe.optimiser.nesterov": "false",
    "recipe.optimiser.weight_decay": "2e-4",
    "recipe.optimiser.decay_only_weights": "true",
    "recipe.schedule": "cosine",
    "recipe.schedule.at": "0.75",
    "recipe.schedule.factor": "0.2",
    "recipe.augment.pad": "2",
    "recipe.augment.flip": "false",
    "recipe.augment.rotate": "15",
    "recipe.augment.jitter": "0.25",
    "recipe.normalise": "image",
    "recipe.ema_decay": "0.995",
    "recipe.select": "validation",
    "recipe.extra": "extra",
    "recipe.precision": "bf16",
    "recipe.attack_precision": "fp32",
    "recipe.ghost_batch": "64",
}


def test_every_leaf_changes_the_fingerprint() -> None:
    base = plan()
    fixed = {"name", "dataset", "profile", "code", "defense.targets", "recipe.augment"}
    assert {path for path, _ in leaves(to_plain(base))} == set(OTHER) | fixed
    changed = [override(base, path, text) for path, text in OTHER.items()]
    changed += [
        replace(base, name="other"),
        replace(base, dataset="cifar100"),
        replace(base, profile="official"),
        replace(base, code="0" * 12),
        replace(base, claim=L2(eps=base.claim.eps)),
        replace(base, threat=L2(eps=base.threat.eps)),
        base.with_defense(targets=plan("fire-sa").defense.targets),
    ]
    seen = [fingerprint(each) for each in [base, *changed]]
    assert len(set(seen)) == len(seen)
    assert all(len(each) == 12 and set(each) <= set("0123456789abcdef") for each in seen)


def test_the_same_radius_written_otherwise_is_another_plan() -> None:
    assert fingerprint(override(plan(), "threat.eps", "16/510")) != fingerprint(plan())
    assert fingerprint(override(plan(), "threat.eps", " 8 / 255 ")) == fingerprint(plan())


def test_the_way_to_a_plan_does_not_matter() -> None:
    assert fingerprint(plan(epochs=30)) == fingerprint(plan(settings=(("--set", "recipe.epochs", "30"),)))
    assert fingerprint(plan("FIRE", "CIFAR10", eps="8/255", settings=(("--set", "recipe.attack.step", "2/255"),))) == (
        fingerprint(plan())
    )
    assert fingerprint(override(override(plan(), "defense.lam", "6"), "defense.lam", "12")) == fingerprint(plan())


def test_whom_to_cite_is_no_part_of_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(plan())
    monkeypatch.setattr(fire, "PAPER", fire.PAPER._replace(method="Other", reported=()))
    found = composed()
    assert found.paper.method == "Other"
    assert fingerprint(found.plan) == before


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    asked = [("fire", "cifar10", "matched"), ("rst_adv", "digits", "matched"), ("mart", "cifar10", "official")]
    code = (
        "from robench_fire.runs.compose import Request, compose\n"
        "from robench_fire.problem.plan import fingerprint\n"
        f"for defense, dataset, profile in {asked!r}:\n"
        "    print(fingerprint(compose(Request(defense=defense, dataset=dataset, profile=profile)).plan))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == [fingerprint(plan(defense, dataset, profile=profile)) for defense, dataset, profile in asked]


def test_a_value_comes_from_the_last_layer_that_changed_it() -> None:
    found = composed(settings=(("--lam", "defense.lam", "6"), ("--set", "recipe.batch_size", "256")), arch="resnet-18")
    assert source(found, "defense.lam") == "--lam"
    assert source(found, "recipe.arch") == "--arch"
    assert source(found, "recipe.batch_size") == "FIRE, section 5 (matched protocol)"
    settable = [path for path, _ in leaves(to_plain(found.plan)) if path not in ("name", "dataset", "profile", "code")]
    assert [path for path, _, _ in found.sources()] == settable
    assert all("." in path for path in settable)
    assert all(value == dict(leaves(to_plain(found.plan)))[path] for path, value, _ in found.sources())


def test_a_departure_names_the_defense_and_its_reason() -> None:
    assert source(composed("madry"), "recipe.attack.start") == (
        "madry, matched: A cross-entropy attack starts anywhere in the ball."
    )
    official = composed("fire", profile="official")
    assert source(official, "defense.lam").startswith("fire, official: MarinePICOT/")
    assert source(official, "threat.eps").startswith("fire, official: ")
    assert source(official, "claim.eps") == THREAT_MODEL
    assert (str(official.plan.threat.eps), str(official.plan.claim.eps)) == ("0.031", "8/255")


def test_a_value_of_the_defense_comes_from_its_paper_and_a_threat_from_the_data_set() -> None:
    found = composed("trades", "mnist", settings=(("--set", "claim.eps", "0.2"),))
    assert source(found, "defense.beta") == source(found, "defense.targets") == "TRADES (Zhang2019Theoretically)"
    assert source(found, "threat.eps") == source(found, "recipe.attack") == THREAT_MODEL
    assert source(found, "recipe.attack.steps") == THREAT_MODEL
    assert source(found, "claim.eps") == "--set"
    assert source(found, "recipe.attack_mode") == source(found, "recipe.arch") == "FIRE, section 5 (matched protocol)"
    moved = composed("trades", "mnist", settings=(("--beta", "defense.beta", "1"), ("--set", "threat.eps", "0.2")))
    assert (source(moved, "defense.beta"), source(moved, "threat.eps")) == ("--beta", "--set")
    assert source(moved, "claim.eps") == THREAT_MODEL


def test_a_field_that_appears_with_a_new_kind_has_the_source_of_the_kind() -> None:
    found = composed(settings=(("--set", "recipe.schedule", "cosine"), ("-s", "recipe.schedule", "steps")))
    assert source(found, "recipe.schedule.at") == "-s"
    found = composed(settings=(("--set", "recipe.attack", "none"),))
    assert "recipe.attack.steps" not in {path for path, _, _ in found.sources()}


def test_the_users_word_is_last(tmp_path: Path) -> None:
    found = composed(
        "rst_adv",
        profile="official",
        arch="resnet-18",
        epochs=7,
        settings=(("-s", "recipe.epochs", "8"),),
        extra_data=extra_file(tmp_path),
    )
    assert (found.plan.recipe.arch, found.plan.recipe.epochs) == ("resnet-18", 8)
    assert source(found, "recipe.arch") == "--arch"


@pytest.mark.parametrize(
    ("asked", "near"), [("fier", "fire"), ("trade", "trades"), ("rst", "rst_adv"), ("self-adaptiv", "self_adaptive")]
)
def test_an_unknown_defense_has_a_nearest_match(asked: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"unknown defense '{asked}': did you mean {near}\? choose from .*madry"):
        compose(Request(defense=asked, dataset="cifar10"))


@pytest.mark.parametrize(("asked", "near"), [("cifar", "cifar10"), ("minst", "mnist"), ("digit", "digits")])
def test_an_unknown_data_set_has_a_nearest_match(asked: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"unknown data set '{asked}': did you mean {near}\? choose from cifar10, "):
        compose(Request(defense="fire", dataset=asked))


def test_a_norm_with_a_recipe_is_chosen_and_another_is_refused() -> None:
    found = plan(norm="L2")
    assert found.threat == found.claim == L2(eps=Quantity("0.5"))
    assert found.recipe.attack == Pgd(steps=10, step=Quantity("15/255"))
    with pytest.raises(UsageError, match="mnist has no L2 recipe; choose from Linf"):
        plan(dataset="mnist", norm="L2")
    with pytest.raises(UsageError, match="cifar10 has no linf recipe; choose from Linf, L2"):
        plan(norm="linf")


@pytest.mark.parametrize(
    ("defense", "dataset", "norm"),
    [
        ("fire", "digits", "Linf"),
        ("fire", "cifar10", "L2"),
        ("fire_sa", "mnist", "Linf"),
        ("madry", "cifar100", "Linf"),
        ("mart", "cifar100", "Linf"),
        ("mart", "mnist", "Linf"),
        ("rst_adv", "mnist", "Linf"),
        ("rst_adv", "cifar10", "Linf"),
        ("rst_adv", "cifar10", "L2"),
        ("self_adaptive", "cifar100", "Linf"),
        ("trades", "digits", "Linf"),
        ("trades", "cifar100", "Linf"),
        ("trades", "cifar10", "L2"),
    ],
)
def test_official_is_refused_where_no_code_was_released(defense: str, dataset: str, norm: str) -> None:
    kind = " with hidden labels" if defense == "rst_adv" else ""
    with pytest.raises(RecipeError) as caught:
        plan(defense, dataset, norm=norm, profile="official")
    said = f"{defense} has no released training code for {dataset} {norm}{kind}; use --profile matched"
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("defense", "dataset"),
    [
        ("trades", "cifar10"),
        ("madry", "cifar10"),
        ("mart", "cifar10"),
        ("self_adaptive", "cifar10"),
        ("fire_sa", "cifar10"),
        ("rst_adv", "mnist"),
        ("rst_adv", "cifar100"),
    ],
)
def test_official_with_extra_data_is_refused_where_no_code_was_released(
    defense: str, dataset: str, tmp_path: Path
) -> None:
    with pytest.raises(
        RecipeError, match=f"{defense} has no released .* {dataset} Linf with extra data; use --profile matched"
    ):
        plan(defense, dataset, profile="official", extra_data=extra_file(tmp_path))


def test_official_values_are_those_of_the_released_code() -> None:
    trades = plan("trades", profile="official")
    assert trades.recipe.epochs == 76
    assert trades.recipe.passes == ("clean", "adv", "clean")
    assert trades.recipe.attack == Pgd(steps=10, step=Quantity("0.007"))
    assert plan("trades", "mnist", profile="official").defense.beta == 1.0  # type: ignore[attr-defined]
    assert plan("fire", profile="official").defense.lam == 20.0  # type: ignore[attr-defined]
    assert plan("madry", profile="official").recipe.normalise == "image"
    assert plan("mart", profile="official").recipe.attack == Pgd(steps=10, step=Quantity("0.007"), start="gaussian")


def test_epochs_of_the_shared_schedule_become_twice_as_many_with_extra_data(tmp_path: Path) -> None:
    assert plan("fire", epochs=30).recipe.epochs == 30
    assert plan("rst_adv").recipe.epochs == 200
    assert plan("rst_adv", epochs=30).recipe.epochs == 60
    assert plan("rst_adv", epochs=30, extra_data=extra_file(tmp_path)).recipe.epochs == 60
    assert plan("fire", epochs=30, extra_data=extra_file(tmp_path)).recipe.epochs == 60


def test_epochs_are_absolute_as_a_setting_and_in_the_official_profile(tmp_path: Path) -> None:
    assert plan("rst_adv", settings=(("--set", "recipe.epochs", "30"),)).recipe.epochs == 30
    assert plan("rst_adv", epochs=50, settings=(("--set", "recipe.epochs", "30"),)).recipe.epochs == 30
    assert plan("rst_adv", epochs=30, profile="official", extra_data=extra_file(tmp_path)).recipe.epochs == 30
    assert plan("trades", epochs=30, profile="official").recipe.epochs == 30
    assert source(composed("trades", epochs=30, profile="official"), "recipe.epochs") == "--epochs"


@pytest.mark.parametrize(
    ("dataset", "norm", "eps", "step"),
    [
        ("cifar10", "Linf", "16/255", 4 / 255),
        ("cifar10", "Linf", "4/255", 1 / 255),
        ("cifar10", "Linf", "1/255", 0.25 / 255),
        ("cifar10", "Linf", "0.031", 0.00775),
        ("cifar10", "L2", "1", 30 / 255),
        ("cifar10", "L2", "0.1", 3 / 255),
        ("digits", "Linf", "0.4", 0.1),
        ("digits", "Linf", "0.05", 0.0125),
        ("mnist", "Linf", "0.1", 0.01 / 3),
    ],
)
def test_a_radius_scales_the_step_and_is_trained_at_and_claimed(dataset: str, norm: str, eps: str, step: float) -> None:
    found = composed("fire", dataset, norm=norm, eps=eps)
    assert found.plan.threat.norm == found.plan.claim.norm == norm
    assert str(found.plan.threat.eps) == str(found.plan.claim.eps) == eps
    assert found.plan.recipe.attack is not None
    assert float(found.plan.recipe.attack.step) == pytest.approx(step, rel=1e-5)
    assert found.plan.recipe.attack.steps == (40 if dataset == "mnist" else 10)
    for path in ("threat.eps", "claim.eps", "recipe.attack.step"):
        assert source(found, path) == "--eps"


def test_a_radius_in_the_official_profile_scales_its_own_step() -> None:
    found = plan("trades", profile="official", eps="0.062")
    assert found.recipe.attack is not None
    assert float(found.recipe.attack.step) == pytest.approx(0.014)
    assert str(found.claim.eps) == "0.062"


@pytest.mark.parametrize(
    ("eps", "said"),
    [("8", "outside \\[0, 1\\]"), ("-1/255", "outside \\[0, 1\\]"), ("big", "'big' is not a number"), ("1/0", "'1/0'")],
)
def test_a_radius_that_is_none_is_refused(eps: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        plan(eps=eps)


@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs_are_refused(epochs: int) -> None:
    with pytest.raises(RecipeError, match=f"epochs {epochs}: must be at least 1"):
        plan(epochs=epochs)


def test_mart_is_weaker_on_resnet_18() -> None:
    assert plan("mart").defense.beta == 6.0  # type: ignore[attr-defined]
    small = composed("mart", arch="resnet-18")
    assert small.plan.defense.beta == 5.0  # type: ignore[attr-defined]
    assert source(small, "defense.beta").startswith("mart, matched: ")
    assert plan("mart", arch="resnet-18", settings=(("-s", "defense.beta", "6"),)).defense.beta == 6.0  # type: ignore[attr-defined]


def test_extra_data_bring_their_architecture_and_schedule(tmp_path: Path) -> None:
    path = extra_file(tmp_path)
    found = composed(extra_data=path)
    recipe = found.plan.recipe
    assert (recipe.arch, recipe.schedule, recipe.epochs) == ("wrn-28-10", Cosine(), 200)
    assert recipe.extra == Extra(source="file", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    for leaf in ("recipe.arch", "recipe.schedule", "recipe.epochs", "recipe.extra.sha256"):
        assert source(found, leaf) == "--extra-data"
    assert plan(extra_data=path, arch="resnet-18").recipe.arch == "resnet-18"


def test_only_the_content_of_extra_data_counts(tmp_path: Path) -> None:
    path = extra_file(tmp_path)
    before = fingerprint(plan(extra_data=path))
    assert fingerprint(plan(extra_data=path.rename(tmp_path / "other.npz"))) == before
    (tmp_path / "other.npz").write_bytes(b"something else")
    assert fingerprint(plan(extra_data=tmp_path / "other.npz")) != before
    with pytest.raises(DataError, match=f"--extra-data {path}: no such file"):
        plan(extra_data=path)


def test_self_training_hides_labels_unless_extra_data_are_given(tmp_path: Path) -> None:
    assert plan("rst_adv").recipe.extra == Extra(source="hidden")
    assert plan("rst_adv").recipe.arch == "wrn-34-10"
    given_file = plan("rst_adv", extra_data=extra_file(tmp_path)).recipe
    assert given_file.extra is not None
    assert given_file.extra.source == "file"
    assert (given_file.arch, given_file.epochs) == ("wrn-28-10", 200)


@pytest.mark.parametrize("defense", ["rst_adv", "fire"])
def test_labels_can_be_hidden_for_any_defense(defense: str) -> None:
    asked = plan(defense, epochs=30, hide_labels=True)
    assert asked.recipe.extra == Extra(source="hidden")
    assert (asked.recipe.epochs, asked.recipe.arch, asked.recipe.schedule) == (60, "wrn-34-10", Cosine())
    assert by_hand(Request(defense=defense, dataset="cifar10", hide_labels=True)) == {}


@pytest.mark.parametrize("defense", ["fire", "trades", "madry", "rst_adv"])
def test_nobody_released_code_that_hides_labels(defense: str) -> None:
    with pytest.raises(RecipeError, match="no released training code for cifar10 Linf with hidden labels"):
        plan(defense, profile="official", hide_labels=True)


def test_pseudo_labelled_images_have_one_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose one source"):
        plan(hide_labels=True, extra_data=extra_file(tmp_path))


@pytest.mark.parametrize(
    ("dataset", "defense", "epochs", "lr"),
    [
        ("cifar10", "fire", 30, 0.2),
        ("cifar10", "rst_adv", 60, 0.2),
        ("mnist", "trades", 30, 0.02),
        ("digits", "mart", 6, 0.1),
    ],
)
def test_the_short_profile_is_the_matched_one_but_for_epochs_and_rate(
    dataset: str, defense: str, epochs: int, lr: float
) -> None:
    short, matched = (plan(defense, dataset, profile=each) for each in ("short", "matched"))
    assert (short.recipe.epochs, short.recipe.optimiser.lr, short.recipe.schedule) == (epochs, lr, Cyclic())
    back = matched.recipe
    changed = short.with_recipe(epochs=back.epochs, optimiser=back.optimiser, schedule=back.schedule)
    assert replace(changed, profile="matched") == matched


def test_the_users_word_comes_after_the_short_profile() -> None:
    short = plan(profile="short", epochs=4, settings=(("--lr", "recipe.optimiser.lr", "0.3"),))
    assert (short.recipe.epochs, short.recipe.optimiser.lr) == (4, 0.3)
    sources = {path: source for path, _, source in composed(profile="short").sources()}
    assert "short profile" in sources["recipe.schedule"] == sources["recipe.optimiser.lr"]


def test_a_composed_plan_builds_its_model() -> None:
    found = composed("fire", "digits", settings=(("--set", "recipe.normalise", "dataset"),))
    assert {"0.mean", "0.std"} < set(found.build().state_dict())
    assert found.plan.recipe == replace(found.dataset.recipes[found.plan.threat], normalise="dataset")


@pytest.mark.parametrize(
    ("arch", "said"), [("resnet18", "did you mean resnet-18"), ("small-cnn", "takes 1x28x28 images")]
)
def test_an_architecture_that_does_not_fit_is_found_before_anything_is_spent(arch: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        plan(arch=arch)
    with pytest.raises(RecipeError, match=said):
        plan(settings=(("--set", "recipe.arch", arch),))


def test_recipes_refuse_what_no_override_can_reach() -> None:
    with pytest.raises(ValueError, match="passes"):
        Recipe(arch="digits-cnn", attack=None, passes=("noisy",))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="1 steps of 2/255 cannot reach eps 8/255"):
        plan().with_attack(steps=1).check()
    clean = override(plan(), "recipe.attack", "none")
    assert clean.with_attack(steps=1) is clean
    clean.check()


BY_HAND: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"settings": (("--set", "defense.lam", "6"),)}, {"defense.lam": 6.0}),
    ({"settings": (("--lam", "defense.lam", "12"), ("--set", "recipe.batch_size", "256"))}, {}),
    ({"settings": (("--lam", "defense.lam", "6"), ("--set", "defense.lam", "12"))}, {}),
    ({"settings": (("--set", "recipe.passes", "adv,clean"),)}, {"recipe.passes": ["adv", "clean"]}),
    ({"settings": (("--set", "recipe.attack", "none"),)}, {"recipe.attack": None}),
    ({"settings": (("--set", "recipe.schedule", "cosine"),)}, {"recipe.schedule": "Cosine"}),
    (
        {"settings": (("--set", "recipe.optimiser", "adam"),)},
        {"recipe.optimiser": "Adam", "recipe.optimiser.lr": 1e-4},
    ),
    ({"epochs": 30}, {"recipe.epochs": 30}),
    ({"epochs": 100}, {}),
    ({"arch": "resnet-18"}, {}),
    ({"settings": (("--set", "recipe.arch", "resnet-18"),)}, {}),
    ({"settings": (("--set", "threat.eps", "4/255"), ("--set", "claim.eps", "4/255"))}, {}),
    ({"defense": "rst_adv"}, {}),
    ({"norm": "L2"}, {}),
    ({"profile": "official"}, {}),
    ({"profile": "official", "settings": (("--lam", "defense.lam", "20"),)}, {}),
    ({"profile": "official", "settings": (("--lam", "defense.lam", "12"),)}, {"defense.lam": 12.0}),
]


@pytest.mark.parametrize(("asked", "expected"), BY_HAND)
def test_what_is_set_by_hand_is_what_differs_from_the_recipe(asked: dict[str, Any], expected: dict[str, Any]) -> None:
    request = Request(**{"defense": "fire", "dataset": "cifar10"} | asked)
    assert by_hand(request) == expected


def test_extra_data_are_not_set_by_hand(tmp_path: Path) -> None:
    path = extra_file(tmp_path)
    assert by_hand(Request(defense="fire", dataset="cifar10", extra_data=path)) == {}
    assert by_hand(Request(defense="fire", dataset="cifar10", extra_data=path, epochs=30)) == {"recipe.epochs": 60}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"eps": "8/255"}, {}),  # the recipe's own radius
        ({"defense": "mart", "arch": "resnet-18"}, {}),  # MART's own coefficient for that network
        ({"epochs": 100}, {}),
        ({"epochs": 30}, {"recipe.epochs": 30}),
        (
            {"settings": (("--set", "recipe.extra", "extra"), ("--set", "recipe.extra.hidden", "0.3"))},
            {"recipe.extra": "Extra", "recipe.extra.source": "hidden", "recipe.extra.sha256": "",
             "recipe.extra.hidden": 0.3, "recipe.extra.share": 0.5},
        ),
    ],
)  # fmt: skip
def test_by_hand_names_what_was_changed_and_nothing_else(asked: dict[str, Any], expected: dict[str, Any]) -> None:
    assert by_hand(Request(**{"defense": "fire", "dataset": "cifar10", **asked})) == expected
