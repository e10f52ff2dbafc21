"""FIRE+RST: FIRE with pseudo-labelled images in every batch."""

from robench_fire.defenses import fire, rst_adv

from robench_fire import Plan, Reported

PAPER = fire.PAPER._replace(
    key="Picot2021Adversarial_RST",
    method="FIRE+RST",
    reported=(Reported("cifar10", "Linf", "wrn-28-10", 89.73, 59.97, "FIRE, Table 2", 0.04, 0.11, extra_data=True),),
)

DEFENSE = fire.DEFENSE

matched = rst_adv.matched


def official(plan: Plan) -> Plan:
    """As FIRE's: its launch script for extra images, with the paper's cosine; on CIFAR-10 only."""
    if plan.dataset != "cifar10":
        raise plan.unreleased()
    made: Plan = fire.official(plan)
    return made
