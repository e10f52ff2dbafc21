"""Standard: training on clean images alone, which shows what robustness costs."""

from robench_fire import Paper, Plan, Reported, Standard

PAPER = Paper(
    key="Croce2021RobustBench_Standard",
    method="Standard",
    title="RobustBench: a standardized adversarial robustness benchmark",
    authors="Francesco Croce, Maksym Andriushchenko, Vikash Sehwag, Edoardo Debenedetti, Nicolas Flammarion, "
    "Mung Chiang, Prateek Mittal, Matthias Hein",
    venue="NeurIPS Datasets and Benchmarks 2021",
    link="https://arxiv.org/abs/2010.09670",
    reported=(
        Reported("cifar10", "Linf", "wrn-28-10", 94.78, 0.0, "RobustBench"),
        Reported("cifar10", "L2", "wrn-28-10", 94.78, 0.0, "RobustBench"),
    ),
)

DEFENSE = Standard()


def matched(plan: Plan) -> Plan:
    """No attack."""
    return plan.with_recipe(attack=None)
