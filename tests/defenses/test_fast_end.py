"""The fast end: each loss and gain against its equation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from bundled_defenses import defense_of, over_batch, random_views
from torch import Tensor

from robench_fire.problem.defense import Defense, Views

N = 12
PROGRESS = torch.tensor(0.46, dtype=torch.float64)


def views() -> Views:
    made = random_views(N, spread=3.0)
    sides = made.natural.requires_grad_(), made.adv.requires_grad_()
    return made._replace(clean=sides[0], adv=sides[1], progress=PROGRESS)


def rows(seen: Views) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Of each example: logits of both images, their predictions' cross-entropies, written out."""
    found = []
    for z, q, label, weight in zip(seen.natural, seen.adv, seen.label.tolist(), seen.target.sum(1), strict=True):
        errors = [weight * (each.exp().sum().log() - each[label]) for each in (z, q)]
        found.append((z, q, *errors))
    return found


def softmax(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum()


def apart(z: Tensor, q: Tensor) -> Tensor:
    return sum((softmax(z) - softmax(q)) ** 2)  # type: ignore[return-value]


def nuclear(seen: Views) -> Tensor:
    """The sum of the square roots of the eigenvalues of DᵀD; D's own dimension comes to 0 in none of these."""
    difference = torch.stack([q - z for z, q, _, _ in rows(seen)])
    return torch.linalg.eigvalsh(difference.T @ difference).sqrt().sum() / N


def lam(last: float, begin: float, end: float) -> float:
    return last * (float(PROGRESS) - begin) / (end - begin)


def clean_error(seen: Views) -> Tensor:
    return sum(each[2] for each in rows(seen)) / N  # type: ignore[return-value]


def error(seen: Views) -> Tensor:
    return sum(each[3] for each in rows(seen)) / N  # type: ignore[return-value]


def guided(seen: Views) -> Tensor:
    return sum(10 * apart(z, q) for z, q, _, _ in rows(seen)) / N  # type: ignore[return-value]


Equation = Callable[[Views], Tensor]
WRITTEN: dict[str, tuple[Equation, Equation]] = {  # the loss, and what the attack maximises
    "free": (error, error),
    "fast": (error, error),
    "n_fgsm": (error, error),
    "gat": (lambda x: clean_error(x) + guided(x), lambda x: error(x) + guided(x)),
    "nu_at": (
        lambda x: clean_error(x) + lam(4.5, 0.01, 0.91) * nuclear(x),
        lambda x: error(x) + lam(4.5, 0.01, 0.91) * nuclear(x),
    ),
}


def loss_of(defense: Defense, seen: Views) -> Tensor:
    return torch.stack([*(each.mean() for each in defense.outer(seen).values()), *over_batch(defense, seen)]).sum()


def gain_of(defense: Defense, seen: Views) -> Tensor:
    return torch.stack([defense.inner(seen).mean(), *over_batch(defense, seen, "inner")]).sum()


@pytest.mark.parametrize("name", WRITTEN)
def test_value_and_gradients_of_an_equation_restated(name: str) -> None:
    for found, written in zip((loss_of, gain_of), WRITTEN[name], strict=True):
        seen = views()
        sides = [seen.natural, seen.adv]
        own, told = found(defense_of(name), seen), written(seen)
        torch.testing.assert_close(own, told, rtol=1e-12, atol=0)
        grads = [torch.autograd.grad(each, sides, materialize_grads=True, allow_unused=True) for each in (own, told)]
        torch.testing.assert_close(*grads, rtol=0, atol=1e-10)


def test_an_attack_forgets_its_guide_in_every_other_batch() -> None:
    for name in ("gat", "nu_at"):
        defense, seen = defense_of(name, alternate=True), views()
        always = gain_of(defense_of(name), seen)
        assert [gain_of(defense, seen._replace(turn=torch.tensor(each))).item() for each in (4, 5)] == [
            pytest.approx(error(seen).item()), pytest.approx(always.item())
        ]  # fmt: skip
        assert loss_of(defense, seen) == loss_of(defense_of(name), seen)


def test_aligned_gradients_of_a_network_written_out() -> None:
    """Value and gradient to the weights of 1 - cos of two gradients of a network's cross-entropy."""
    defense, stream = defense_of("grad_align"), torch.Generator().manual_seed(0)
    first, second = (torch.randn(shape, generator=stream, dtype=torch.float64) for shape in ((9, 6), (6, 4)))
    x, near, adv = (torch.rand(5, 9, generator=stream, dtype=torch.float64) for _ in range(3))
    label = torch.tensor([0, 3, 1, 2, 2])
    target = torch.eye(4, dtype=torch.float64)[label]

    def network(weights: list[Tensor], images: Tensor) -> Tensor:
        return (images @ weights[0]).tanh() @ weights[1]

    def found(weights: list[Tensor]) -> Tensor:
        a, b = x.clone().requires_grad_(), near.clone().requires_grad_()
        seen = Views(network(weights, a), network(weights, adv), target, label, more={"near": network(weights, b)})
        slopes = torch.autograd.grad(defense.slope(seen).sum(), (a, b), create_graph=True)
        return loss_of(defense, seen._replace(gradients=dict(zip(("clean", "near"), slopes, strict=True))))

    def written(weights: list[Tensor]) -> Tensor:
        """By the chain rule: W1 ((1 - h²) * W2 (p - t))."""
        total = torch.zeros((), dtype=torch.float64)
        for number in range(5):
            slopes = []
            for image in (x[number], near[number]):
                h = (image @ weights[0]).tanh()
                slopes.append(weights[0] @ ((1 - h**2) * (weights[1] @ (softmax(h @ weights[1]) - target[number]))))
            cos = slopes[0] @ slopes[1] / (slopes[0].norm() * slopes[1].norm())
            z = (adv[number] @ weights[0]).tanh() @ weights[1]
            total = total + (z.exp().sum().log() - z[label[number]] + 0.2 * (1 - cos)) / 5
        return total

    values, gradients = [], []
    for of in (found, written):
        weights = [first.clone().requires_grad_(), second.clone().requires_grad_()]
        values.append(of(weights))
        gradients.append(torch.autograd.grad(values[-1], weights))
    torch.testing.assert_close(*values, rtol=1e-12, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)
