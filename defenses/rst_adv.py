"""RST-adv: robust self-training, TRADES with pseudo-labelled images in every batch."""

from robench_fire.defenses import trades

from robench_fire import Extra, Paper, Plan, Reported

PAPER = Paper(
    key="Carmon2019Unlabeled",
    method="RST-adv",
    title="Unlabeled Data Improves Adversarial Robustness",
    authors="Yair Carmon, Aditi Raghunathan, Ludwig Schmidt, Percy Liang, John C. Duchi",
    venue="NeurIPS 2019",
    link="https://arxiv.org/abs/1905.13736",
    reported=(
        Reported("cifar10", "Linf", "wrn-28-10", 89.49, 59.69, "FIRE, Table 2", 0.41, 0.26, extra_data=True),
        Reported("cifar10", "Linf", "wrn-28-10", 89.69, 59.53, "RobustBench", extra_data=True),
    ),
)

DEFENSE = trades.DEFENSE


def matched(plan: Plan) -> Plan:
    """Self-training needs images without labels: unless --extra-data brings some, labels are hidden."""
    return plan if plan.recipe.extra else plan.with_extra(Extra())


def official(plan: Plan) -> Plan:
    """yaircarmon/semisup-adv: 200 epochs, cosine, batches of 128 labelled and 128 pseudo-labelled images."""
    if plan.dataset != "cifar10":
        raise plan.unreleased()
    return plan.with_eps("0.031", "0.007").with_recipe(arch="wrn-28-10", passes=("adv", "clean"))
