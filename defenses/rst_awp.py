"""RST-AWP: TRADES with pseudo-labelled images, at adversarially perturbed weights."""

from dataclasses import replace

from robench_fire.defenses import rst_adv, trades_awp

from robench_fire import Reported

PAPER = trades_awp.PAPER._replace(
    key="Wu2020Adversarial_extra",
    method="RST-AWP",
    reported=(Reported("cifar10", "Linf", "wrn-28-10", 88.25, 60.04, "RobustBench", extra_data=True),),
)

DEFENSE = replace(rst_adv.DEFENSE, weights=trades_awp.AWP)

matched = rst_adv.matched
