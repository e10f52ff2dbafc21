"""Pre-training: Madry from given weights, with a new last layer."""

from dataclasses import replace

from robench_fire.defenses import madry

from robench_fire import Cosine, Paper, Plan, Reported, Sgd

PAPER = Paper(
    key="Hendrycks2019Using",
    method="Pre-training",
    title="Using Pre-Training Can Improve Model Robustness and Uncertainty",
    authors="Dan Hendrycks, Kimin Lee, Mantas Mazeika",
    venue="ICML 2019",
    link="https://arxiv.org/abs/1901.09960",
    reported=(
        Reported("cifar10", "Linf", "wrn-28-10", 86.93, 53.35, "FIRE, Table 2", 0.79, 0.81, extra_data=True),
        Reported("cifar10", "Linf", "wrn-28-10", 87.11, 54.92, "RobustBench", extra_data=True),
        Reported("cifar100", "Linf", "wrn-28-10", 59.23, 28.42, "RobustBench", extra_data=True),
    ),
)

DEFENSE = madry.DEFENSE


def matched(plan: Plan) -> Plan:
    """A new last layer on the weights of --start, a tenth of the rate; an attack as Madry's."""
    if plan.recipe.start is None:
        raise plan.needs_start()
    optimiser = replace(plan.recipe.optimiser, lr=plan.recipe.optimiser.lr / 10)
    return plan.with_attack(start="uniform").with_recipe(
        start=replace(plan.recipe.start, head="new"), optimiser=optimiser
    )


def official(plan: Plan) -> Plan:
    """hendrycks/pre-training: 5 epochs of batches of 128 at rate 0.001, attack in train mode."""
    if plan.dataset not in ("cifar10", "cifar100") or plan.recipe.extra:
        raise plan.unreleased()
    return plan.with_recipe(
        arch="wrn-28-10",
        attack_mode="train",
        epochs=5,
        batch_size=128,
        optimiser=Sgd(lr=0.001),
        schedule=Cosine(),
    )
