"""FIRE-AWP: FIRE at adversarially perturbed weights; a combination that no paper reports."""

from dataclasses import replace

from robench_fire.defenses import fire, trades_awp

PAPER = fire.PAPER._replace(key="Picot2021Adversarial_AWP", method="FIRE-AWP", reported=())

DEFENSE = replace(fire.DEFENSE, weights=trades_awp.AWP)
