"""Overfitting: Madry for twice as long, the epoch chosen by robust accuracy on validation images."""

from robench_fire.defenses import madry

from robench_fire import Augment, Paper, Plan, Reported, Sgd, Steps

PAPER = Paper(
    key="Rice2020Overfitting",
    method="Overfitting",
    title="Overfitting in adversarially robust deep learning",
    authors="Leslie Rice, Eric Wong, J. Zico Kolter",
    venue="ICML 2020",
    link="https://arxiv.org/abs/2002.11569",
    reported=(
        Reported("cifar10", "Linf", "wrn-34-10", 85.64, 51.72, "FIRE, Table 2", 0.55, 0.56),
        Reported("cifar100", "Linf", "wrn-34-10", 59.22, 25.99, "FIRE, Table 2", 0.61, 0.51),
        Reported("cifar10", "Linf", "wrn-34-20", 85.34, 53.42, "RobustBench"),
        Reported("cifar100", "Linf", "preact-resnet-18", 53.83, 18.95, "RobustBench"),
    ),
)

DEFENSE = madry.DEFENSE
LATE = Steps(at=(0.5, 0.75))


def matched(plan: Plan) -> Plan:
    """Twice the epochs, drops at half and three quarters, the best epoch on validation images; an attack as Madry's."""
    return plan.with_attack(start="uniform").stretched(2, LATE).with_recipe(select="validation")


def official(plan: Plan) -> Plan:
    """locuslab/robust_overfitting, --val: 200 epochs of batches of 128, attack in train mode; CIFAR-100 is rotated."""
    if plan.dataset not in ("cifar10", "cifar100") or plan.recipe.extra:
        raise plan.unreleased()
    return plan.with_recipe(
        attack_mode="train",
        epochs=200,
        batch_size=128,
        optimiser=Sgd(nesterov=False),
        schedule=LATE,
        augment=Augment(rotate=15.0 if plan.dataset == "cifar100" else 0.0),
        normalise="dataset",
    )
