"""FGSM-RS: fast adversarial training, one long step from a random start."""

from fractions import Fraction

from robench_fire.defenses import madry

from robench_fire import Adam, Cyclic, Paper, Plan, Reported, Sgd

PAPER = Paper(
    key="Wong2020Fast",
    method="FGSM-RS",
    title="Fast is better than free: Revisiting adversarial training",
    authors="Eric Wong, Leslie Rice, J. Zico Kolter",
    venue="ICLR 2020",
    link="https://arxiv.org/abs/2001.03994",
    reported=(
        Reported("cifar10", "Linf", "preact-resnet-18", 83.34, 43.21, "RobustBench"),
        Reported("cifar10", "Linf", "resnet-18", 77.66, 43.09, "Pan and Yao 2026"),
    ),
)

DEFENSE = madry.DEFENSE
ONCE = Cyclic()  # one triangle over all updates


def matched(plan: Plan) -> Plan:
    """One step of 1.25 radii from anywhere in the ball: Wong et al., Algorithm 3 and section 4.2."""
    return plan.with_attack(steps=1, step=plan.threat.eps.times(Fraction(5, 4)), start="uniform")


def official(plan: Plan) -> Plan:
    """locuslab/fast_adversarial: 15 epochs (MNIST: 10) of one triangle, attack in train mode."""
    if plan.recipe.extra:
        raise plan.unreleased()
    if plan.dataset == "mnist":
        return plan.with_recipe(epochs=10, batch_size=100, optimiser=Adam(lr=5e-3), schedule=Cyclic(peak=0.4))
    if plan.dataset != "cifar10":
        raise plan.unreleased()
    plan = plan.with_recipe(arch="preact-resnet-18", attack_mode="train", normalise="dataset")
    return plan.with_recipe(epochs=15, batch_size=128, optimiser=Sgd(lr=0.2, nesterov=False), schedule=ONCE)
