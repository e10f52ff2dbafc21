"""MART-AWP: MART at adversarially perturbed weights."""

from dataclasses import replace

from robench_fire.defenses import mart, trades_awp

from robench_fire import Reported

PAPER = trades_awp.PAPER._replace(
    key="Wu2020Adversarial_MART",
    method="MART-AWP",
    reported=(Reported("cifar10", "Linf", "wrn-34-10", 84.43, 54.23, "AWP, README"),),
)

DEFENSE = replace(mart.DEFENSE, weights=trades_awp.AWP)

matched = mart.matched
