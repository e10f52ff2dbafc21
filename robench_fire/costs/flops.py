"""Floating-point operations of a training: what matrix products and convolutions take, at 2 per multiply-add."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from robench_fire.costs.work import Work


class NetworkFlops(NamedTuple):
    """FLOPs of one image: through the network, back to the image (an attack's gradient), back to the weights.

    ``through``: what is added to the last where it also goes back through the one before it; 0 where nobody asked.
    """

    forward: int
    to_image: int
    to_weights: int
    through: int = 0


def network_flops(build: Callable[[], nn.Module], shape: tuple[int, int, int], twice: bool = False) -> NetworkFlops:
    """What a network takes for an image of ``shape``, counted by torch as it runs; ``twice``: with ``through``.

    On the meta device, where nothing is computed, so that the largest network is counted at once; a network whose code
    needs real values is counted on the CPU. What is not a matrix product, convolution or attention counts nothing, as
    is usual: batch norm and activations take time, but next to no arithmetic.
    """
    try:
        return _counted(build, shape, "meta", twice)
    except Exception:  # whatever a network's own code raises where tensors have no values
        return _counted(build, shape, "cpu", twice)


def forward_flops(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """What a forward pass of one image takes through a network that is there, on the CPU."""
    with torch.no_grad():
        return _count(lambda: model(torch.zeros(1, *shape)))[0]


def _counted(build: Callable[[], nn.Module], shape: tuple[int, int, int], device: str, twice: bool) -> NetworkFlops:
    with torch.random.fork_rng([]), torch.device(device):
        model, image = build().eval(), torch.rand(1, *shape)
    forward, _ = _count(lambda: model(image))
    _, logits = _count(lambda: model(image))
    to_weights, _ = _count(logits.sum().backward)
    both_ways = _through(model, image) if twice else to_weights
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    image.requires_grad_()
    logits = model(image)
    to_image, _ = _count(lambda: torch.autograd.grad(logits.sum(), image))
    return NetworkFlops(forward, to_image, to_weights, both_ways - to_weights)


def _through(model: nn.Module, image: Tensor) -> int:
    """A full gradient of a loss that reads logits and the gradient of a curved function of them at the image."""
    image = image.detach().requires_grad_()
    logits = model(image)
    (slope,) = torch.autograd.grad(logits.logsumexp(1).sum(), image, create_graph=True)
    return _count((logits.square().sum() + slope.square().sum()).backward)[0]


def _count(work: Callable[[], Any]) -> tuple[int, Any]:
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _both_ways}) as counter:
        result = work()
    return counter.get_total_flops(), result


def _both_ways(grad: Any, image: Any, weight: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """Either gradient of a convolution has its forward's multiply-adds; torch's own count forgets about groups."""
    transposed, wanted = rest[4], rest[7]
    return int(conv_flop_count(image, weight, grad, transposed) * sum(wanted[:2]))


def update_flops(each: NetworkFlops, done: Work, taught: int = 0) -> int:
    """FLOPs of an update per image, as the engine runs it; ``taught``: of a forward pass of the teacher's network.

    A full backward is a little less than two forwards, as the first layer needs no gradient of the images.
    """
    own = done.forwards * each.forward + done.to_image * each.to_image + done.to_weights * each.to_weights
    both = done.both * (each.forward + each.to_image)  # either gradient of all layers has the forward's
    return own + done.through * each.through + done.taught * taught + both
