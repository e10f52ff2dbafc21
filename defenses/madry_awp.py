"""Madry-AWP: adversarial training at adversarially perturbed weights."""

from dataclasses import replace

from robench_fire.defenses import madry, overfitting

from robench_fire import AdversarialWeights, Paper, Plan, Reported

PAPER = Paper(
    key="Wu2020Adversarial_AT",
    method="Madry-AWP",
    title="Adversarial Weight Perturbation Helps Robust Generalization",
    authors="Dongxian Wu, Shu-Tao Xia, Yisen Wang",
    venue="NeurIPS 2020",
    link="https://arxiv.org/abs/2004.05884",
    reported=(
        Reported("cifar10", "Linf", "wrn-34-10", 85.36, 53.97, "AWP, README"),
        Reported("cifar100", "Linf", "wrn-34-10", 60.38, 28.86, "RobustBench"),
    ),
)

DEFENSE = replace(madry.DEFENSE, weights=AdversarialWeights(gamma=0.01))

matched = madry.matched


def official(plan: Plan) -> Plan:
    """csdongxian/AWP, AT_AWP: as Rice et al. 2020; its best epoch by test images is here one by validation images."""
    made: Plan = overfitting.official(plan)
    return made.with_recipe(select="validation")
