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

from robench_fire.attacks import Pgd
from robench_fire.compose import Composed, Request, compose
from robench_fire.errors import DataError, RecipeError, UsageError
from robench_fire.plan import Plan, fingerprint, leaves, override, to_plain
from robench_fire.quantity import Quantity
from robench_fire.recipe import Adam, Cosine, Extra, Recipe, Sgd, Steps
from robench_fire.threat import L2, Linf


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
        ("recipe.schedule.at", "", ()),
        ("recipe.augment.pad", "0", 0),
        ("recipe.augment.flip", "FALSE", False),
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


@pytest.mark.parametrize("path", ["", "epochs", "lam", "name", "dataset", "profile", "claim.eps", "recipes.epochs"])
def test_only_defense_threat_and_recipe_are_set(path: str) -> None:
    with pytest.raises(RecipeError, match=f"unknown setting '{path}': .*choose from defense.…, recipe.…, threat.…"):
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
        ("recipe.schedule", "cosin", "unknown kind 'cosin': did you mean cosine? choose from cosine, steps"),
        ("recipe.optimiser", "lion", "unknown kind 'lion': choose from adam, sgd"),
        ("recipe.attack", "pgd", "Pgd has fields without a default; set those one by one"),
        ("recipe", "recipe", "Recipe has fields without a default; set those one by one"),
        ("defense.targets", "hardlabels", "cannot be set as a whole"),
        ("threat", "L2", "cannot be set as a whole"),
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
        ("recipe.attack.steps", "3", "3 steps of 2/255 cannot reach eps 8/255: raise recipe.attack.steps or"),
        ("recipe.attack.step", "0.003", "10 steps of 0.003 cannot reach eps 8/255: raise recipe.attack.steps or"),
        ("threat.eps", "21/255", "10 steps of 2/255 cannot reach eps 21/255: raise recipe.attack.steps or"),
        ("threat.eps", "8", "eps 8 is outside [0, 1], the range of a pixel; CIFAR uses 8/255"),
        ("threat.eps", "-0.1", "eps -0.1 is outside [0, 1], the range of a pixel; CIFAR uses 8/255"),
    ],
)
def test_a_value_that_cannot_be_run_is_refused(path: str, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(plan(), path, text)
    assert str(caught.value).startswith(f"{path}={text}: {said}")


@pytest.mark.parametrize(
    ("path", "text"), [("recipe.attack.steps", "4"), ("threat.eps", "20/255"), ("threat.eps", "0")]
)
def test_steps_that_just_reach_the_boundary_are_accepted(path: str, text: str) -> None:
    assert str(value(override(plan(), path, text), path)) == text


def test_other_refusals_of_values() -> None:
    with pytest.raises(RecipeError, match=r"momentum 0\.9 and start 2\.0 must lie in \[0, 1\]"):
        override(plan("fire-sa"), "defense.targets.start", "2")
    with pytest.raises(RecipeError, match=r"hidden 1\.0 and share 0\.5 must lie strictly between 0 and 1"):
        override(plan("rst-adv"), "recipe.extra.hidden", "1")


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
}


def test_every_leaf_changes_the_fingerprint() -> None:
    base = plan()
    fixed = {"name", "dataset", "profile", "claim.eps", "defense.targets", "recipe.augment"}
    assert {path for path, _ in leaves(to_plain(base))} == set(OTHER) | fixed
    changed = [override(base, path, text) for path, text in OTHER.items()]
    changed += [
        replace(base, name="other"),
        replace(base, dataset="cifar100"),
        replace(base, profile="official"),
        replace(base, claim=Linf(eps=Quantity("7/255"))),
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
        "from robench_fire.compose import Request, compose\n"
        "from robench_fire.plan import fingerprint\n"
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
    assert [path for path, _, _ in found.sources()] == [path for path, _ in leaves(to_plain(found.plan))]
    assert all(value == dict(leaves(to_plain(found.plan)))[path] for path, value, _ in found.sources())


def test_a_departure_names_the_defense_and_its_reason() -> None:
    assert source(composed("madry"), "recipe.attack.start") == (
        "madry, matched: A cross-entropy attack starts anywhere in the ball."
    )
    official = composed("fire", profile="official")
    assert source(official, "defense.lam").startswith("fire, official: MarinePICOT/")
    assert source(official, "threat.eps").startswith("fire, official: ")
    assert source(official, "claim.eps") == "FIRE, section 5 (matched protocol)"
    assert (str(official.plan.threat.eps), str(official.plan.claim.eps)) == ("0.031", "8/255")


def test_a_field_that_appears_with_a_new_kind_has_the_source_of_the_kind() -> None:
    found = composed(settings=(("--set", "recipe.schedule", "cosine"), ("-s", "recipe.schedule", "steps")))
    assert source(found, "recipe.schedule.at") == "-s"
    found = composed(settings=(("--set", "recipe.attack", "none"),))
    assert "recipe.attack.steps" not in {path for path, _, _ in found.sources()}


def test_the_users_word_is_last() -> None:
    found = composed(
        "rst_adv", profile="official", arch="resnet-18", epochs=7, settings=(("-s", "recipe.epochs", "8"),)
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
        ("self_adaptive", "cifar100", "Linf"),
        ("trades", "digits", "Linf"),
        ("trades", "cifar100", "Linf"),
        ("trades", "cifar10", "L2"),
    ],
)
def test_official_is_refused_where_no_code_was_released(defense: str, dataset: str, norm: str) -> None:
    said = f"{defense} has no released training code for {dataset} {norm}"
    with pytest.raises(RecipeError, match=rf"{said}( with extra data)?; use --profile matched"):
        plan(defense, dataset, norm=norm, profile="official")


@pytest.mark.parametrize("defense", ["trades", "madry", "mart", "self_adaptive", "fire_sa"])
def test_official_with_extra_data_is_refused_where_no_code_was_released(defense: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=f"{defense} has no released .* cifar10 Linf with extra data; use --profile"):
        plan(defense, profile="official", extra_data=extra_file(tmp_path))


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


def test_epochs_are_absolute_as_a_setting_and_in_the_official_profile() -> None:
    assert plan("rst_adv", settings=(("--set", "recipe.epochs", "30"),)).recipe.epochs == 30
    assert plan("rst_adv", epochs=50, settings=(("--set", "recipe.epochs", "30"),)).recipe.epochs == 30
    assert plan("rst_adv", epochs=30, profile="official").recipe.epochs == 30
    assert plan("trades", epochs=30, profile="official").recipe.epochs == 30
    assert source(composed("trades", epochs=30, profile="official"), "recipe.epochs") == "--epochs"


@pytest.mark.parametrize(
    ("dataset", "eps", "step"),
    [
        ("cifar10", "16/255", 4 / 255),
        ("cifar10", "4/255", 1 / 255),
        ("cifar10", "0.031", 0.00775),
        ("digits", "0.4", 0.1),
    ],
)
def test_a_radius_scales_the_step_and_is_trained_at_and_claimed(dataset: str, eps: str, step: float) -> None:
    found = composed("fire", dataset, eps=eps)
    assert str(found.plan.threat.eps) == str(found.plan.claim.eps) == eps
    assert found.plan.recipe.attack is not None
    assert float(found.plan.recipe.attack.step) == pytest.approx(step, rel=1e-5)
    assert found.plan.recipe.attack.steps == 10
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
    with pytest.raises(ValueError, match="cannot reach eps 8/255"):
        plan().with_attack(steps=1)
    clean = override(plan(), "recipe.attack", "none")
    assert clean.with_attack(steps=1) is clean
