"""Free: each batch is trained on eight times, perturbed by the gradients of its own updates."""

import math

from robench_fire.defenses import madry

from robench_fire import Augment, Paper, Plan, Replay, Reported, Sgd, Steps

PAPER = Paper(
    key="Shafahi2019Adversarial",
    method="Free",
    title="Adversarial Training for Free!",
    authors="Ali Shafahi, Mahyar Najibi, Amin Ghiasi, Zheng Xu, John Dickerson, Christoph Studer, Larry S. Davis, "
    "Gavin Taylor, Tom Goldstein",
    venue="NeurIPS 2019",
    link="https://arxiv.org/abs/1904.12843",
    reported=(
        Reported("cifar10", "Linf", "wrn-34-10", 86.11, 41.47, "RobustBench"),
        Reported("cifar10", "Linf", "resnet-18", 75.20, 44.34, "Pan and Yao 2026"),
    ),
)

DEFENSE = madry.DEFENSE


def matched(plan: Plan) -> Plan:
    """Eight updates a batch, each with a step of the radius, and an eighth of the epochs: Algorithm 1, m = 8."""
    attack = Replay(step=plan.threat.eps)
    return plan.with_recipe(attack=attack, epochs=math.ceil(plan.recipe.epochs / attack.times))


def official(plan: Plan) -> Plan:
    """ashafahi/free_adv_train: 80,000 updates on 10,000 batches of 128, by the recipe of cifar10_challenge."""
    if plan.dataset not in ("cifar10", "cifar100") or plan.recipe.extra:
        raise plan.unreleased()
    optimiser = Sgd(nesterov=False, weight_decay=2e-4, decay_only_weights=True)
    plan = plan.with_recipe(optimiser=optimiser, schedule=Steps(at=(0.5, 0.75)))
    return plan.with_recipe(epochs=26, batch_size=128, augment=Augment(pad=2), normalise="image")
