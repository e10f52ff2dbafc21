"""Plans: one fingerprint for one plan, whatever the way to it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from plans import composed, plan
from robench_fire.defenses import fire

from robench_fire.problem.plan import fingerprint, override
from robench_fire.problem.settings import leaves, to_plain
from robench_fire.problem.threat import L2

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


@pytest.mark.slow
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
