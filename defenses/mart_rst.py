"""MART+RST: MART with pseudo-labelled images in every batch."""

from robench_fire.defenses import mart, rst_adv

from robench_fire import Plan

PAPER = mart.PAPER._replace(key="Wang2020Improving_RST", method="MART+RST")

DEFENSE = mart.DEFENSE


def matched(plan: Plan) -> Plan:
    """As RST-adv brings its images, and as MART starts its attack; the authors' own code for this is not released."""
    made: Plan = mart.matched(rst_adv.matched(plan))
    return made
