"""FIRE+SA: FIRE with the labels of self-adaptive training."""

from dataclasses import replace

from robench_fire.defenses import fire, self_adaptive

from robench_fire import Reported

PAPER = fire.PAPER._replace(
    key="Picot2021Adversarial_SA",
    method="FIRE+SA",
    reported=(Reported("cifar10", "Linf", "wrn-34-10", 83.70, 53.26, "FIRE, Table 2", 0.36, 0.19),),
)

DEFENSE = replace(fire.DEFENSE, targets=self_adaptive.DEFENSE.targets)

# Only an evaluation script was released; its arguments are those of self-adaptive training.
official = self_adaptive.official
