"""What validation attacks with: a network that overfitted to one step must be found out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from devices import CPU
from needs import FAR, REPLAYS, problem
from trainings import RECIPE, defense

from robench_fire.models.small_cnns import DigitsCNN
from robench_fire.problem.pgd import Pgd, Replay
from robench_fire.problem.recipe import Sgd
from robench_fire.problem.threat import Linf, Threat
from robench_fire.quantity import Quantity
from robench_fire.statistics.curves import signs
from robench_fire.training.engine import train, train_together
from robench_fire.training.validation import attacks

LINF = Linf("8/255")
FGSM = Pgd(steps=1, step=Quantity("8/255"), start="zero")
TEN = Pgd(steps=10, step=Quantity("2/255"), start="uniform")


def found(attack: Pgd | Replay | None, threat: Threat = LINF, validation: Pgd | None = None) -> dict[str, Pgd]:
    return attacks(replace(RECIPE, attack=attack, validation_attack=validation), threat)


def test_several_steps_in_the_ball_validate_themselves() -> None:
    several = Pgd(steps=2, step=Quantity("8/255"))
    assert found(several) == {"robust": several}
    assert found(None) == {}


def test_one_step_and_what_leaves_the_ball_stand_beside_ten_in_it() -> None:
    for attack in (FGSM, FAR):
        assert found(attack) == {"robust": TEN, "one_step": attack}
    assert found(REPLAYS) == {
        "robust": TEN, "one_step": Pgd(steps=1, step=REPLAYS.step, start="zero")
    }  # fmt: skip
    assert found(FGSM, Linf("0"))["robust"].step == FGSM.step


def test_the_recipes_own_attack_takes_the_place_of_ten_steps() -> None:
    several, own = Pgd(steps=2, step=Quantity("8/255")), Pgd(steps=20, step=Quantity("1/255"))
    assert found(several, validation=own) == {"robust": own}
    assert found(FGSM, validation=own) == {"robust": own, "one_step": FGSM}


@pytest.mark.parametrize("seeds", [[0], [0, 3]])
def test_a_curve_has_both(seeds: list[int]) -> None:
    given = problem("replays", 128)
    for made in train_together(DigitsCNN, given, seeds=seeds, device=CPU, state_files=[None] * len(seeds)):
        row = made.curve[-1]
        assert [*row][-3:] == ["clean", "robust", "one_step"]
        assert 0 <= row["robust"] <= row["one_step"] <= row["clean"] <= 100


def test_catastrophic_overfitting_is_found_out() -> None:
    """FGSM-RS with steps of two radii at a large radius: what one step finds is learnt, what ten find is not."""
    attack = Pgd(steps=1, step=Quantity("0.8"), start="uniform")
    changes = {"attack": attack, "epochs": 24, "optimiser": Sgd(lr=0.1), "passes": ("adv",)}
    given = problem("start", 600, Linf("0.4"), **changes)
    given = replace(given, defense=defense("fast"), begin=None)
    curve = train(DigitsCNN, given, seed=0, device=CPU).curve
    assert max(row["one_step"] for row in curve) > 40
    assert max(row["robust"] for row in curve) < 15
    told = [signs(curve[:epochs], 10) for epochs in range(12, 25)]
    assert any("overfitted to the training attack's one step" in " ".join(each) for each in told)
