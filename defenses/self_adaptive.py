"""Self-Adaptive: TRADES with labels that drift towards the model's own predictions."""

from dataclasses import replace

from robench_fire.defenses import trades

from robench_fire import Paper, Plan, Reported, SelfAdaptive, Sgd, Steps

PAPER = Paper(
    key="Huang2020Self",
    method="Self-Adaptive",
    title="Self-Adaptive Training: beyond Empirical Risk Minimization",
    authors="Lang Huang, Chao Zhang, Hongyang Zhang",
    venue="NeurIPS 2020",
    link="https://arxiv.org/abs/2002.10319",
    reported=(
        Reported("cifar10", "Linf", "wrn-34-10", 83.39, 53.11, "FIRE, Table 2", 0.19, 0.29),
        Reported("cifar10", "Linf", "wrn-34-10", 83.48, 53.34, "RobustBench", eps="0.031"),
    ),
)

DEFENSE = replace(trades.DEFENSE, targets=SelfAdaptive(momentum=0.9, start=0.7))


def official(plan: Plan) -> Plan:
    """LayneH/self-adaptive-training, run_trades_sat.sh; the epoch is chosen on validation images."""
    if plan.dataset != "cifar10" or plan.recipe.extra:
        raise plan.unreleased()
    return plan.with_eps("0.031", "0.007").with_recipe(
        batch_size=128,
        optimiser=Sgd(nesterov=False, weight_decay=2e-4),
        schedule=Steps(at=(0.75, 0.9, 1.0)),
        select="validation",
    )
