"""N-FGSM: one step from strong noise, and nothing is projected back onto the ball."""

from robench_fire.defenses import fast, madry

from robench_fire import Paper, Plan, Reported, Sgd

PAPER = Paper(
    key="DeJorge2022Make",
    method="N-FGSM",
    title="Make Some Noise: Reliable and Efficient Single-Step Adversarial Training",
    authors="Pau de Jorge, Adel Bibi, Riccardo Volpi, Amartya Sanyal, Philip H. S. Torr, Grégory Rogez, "
    "Puneet K. Dokania",
    venue="NeurIPS 2022",
    link="https://arxiv.org/abs/2202.01181",
    reported=(Reported("cifar10", "Linf", "resnet-18", 78.59, 47.77, "Pan and Yao 2026"),),
)

DEFENSE = madry.DEFENSE


def matched(plan: Plan) -> Plan:
    """One step of the radius from anywhere within two radii, cut with [0, 1] alone: de Jorge et al., Algorithm 1."""
    return plan.with_attack(steps=1, step=plan.threat.eps, start="uniform", spread=2.0, within="pixels")


def official(plan: Plan) -> Plan:
    """pdejorge/N-FGSM: 30 epochs of one triangle, attack in train mode."""
    if plan.dataset not in ("cifar10", "cifar100") or plan.recipe.extra:
        raise plan.unreleased()
    plan = plan.with_recipe(arch="preact-resnet-18", attack_mode="train", normalise="dataset")
    return plan.with_recipe(epochs=30, batch_size=128, optimiser=Sgd(lr=0.2, nesterov=False), schedule=fast.ONCE)
