"""TRADES-AWP: TRADES at adversarially perturbed weights."""

from dataclasses import replace

from robench_fire.defenses import madry_awp, overfitting, trades

from robench_fire import AdversarialWeights, Plan, Reported, Sgd

PAPER = madry_awp.PAPER._replace(
    key="Wu2020Adversarial",
    method="TRADES-AWP",
    reported=(Reported("cifar10", "Linf", "wrn-34-10", 85.36, 56.17, "RobustBench"),),
)

AWP = AdversarialWeights(gamma=0.005, start=0.05)  # from epoch 10 of 200
DEFENSE = replace(trades.DEFENSE, weights=AWP)


def official(plan: Plan) -> Plan:
    """csdongxian/AWP, TRADES_AWP; its best epoch by test images is here one by validation images."""
    if plan.dataset not in ("cifar10", "cifar100") or plan.recipe.extra:
        raise plan.unreleased()
    return plan.with_recipe(
        passes=("adv", "clean", "clean"),
        epochs=200,
        batch_size=128,
        optimiser=Sgd(nesterov=False),
        schedule=overfitting.LATE,
        select="validation",
    )
