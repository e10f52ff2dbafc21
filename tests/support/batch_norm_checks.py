"""What test_process_group.py computes of batch norms, in one process and in two."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from robench_fire.devices.process_group import ProcessGroup
from robench_fire.models.batch_norm import Ghost, Synchronised


def batch(rows: int, kind: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Images (rows, 3, 4, 5), and the weights with which the outputs enter a loss."""
    source = torch.Generator().manual_seed(rows)
    x, weights = torch.randn(2, rows, 3, 4, 5, generator=source, dtype=torch.float64)
    return (3 * x + 2).to(kind), weights.to(kind)


def norm(kind: torch.dtype = torch.float64, momentum: float | None = 0.1) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(3, momentum=momentum).to(kind)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        made.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    return made


def passed(layer: nn.Module, group: ProcessGroup, rows: int, kind: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Two batches through a batch norm: outputs, gradients of this process's part, and what the layer then holds."""
    found: dict[str, Tensor] = {}
    for turn in range(2):
        x, weights = (group.part(each) for each in batch(rows + turn, kind))
        x = x.clone().requires_grad_()
        out = layer(x)
        layer.zero_grad()
        ((out.square() * weights).sum() / group.copies(rows + turn)).backward()
        assert x.grad is not None
        found |= {f"out {turn}": out.detach(), f"gradient {turn}": x.grad}
    for name, value in layer.named_parameters():
        assert value.grad is not None
        found[name] = group.total(value.grad.clone())
    return {**found, **{f"state {name}": value.clone() for name, value in layer.state_dict().items()}}


def synchronised(group: ProcessGroup, rows: int, momentum: float | None = 0.1) -> dict[str, Tensor]:
    layer = norm(momentum=momentum)
    return passed(layer if group.size == 1 else Synchronised(layer, group), group, rows)


def ghost(group: ProcessGroup, rows: int) -> dict[str, Tensor]:
    group = replace(group, slice_size=4)
    return passed(Ghost(norm(), group), group, rows)


def activated(group: ProcessGroup) -> dict[str, Tensor]:
    """timm's batch norm with an activation in it."""
    from timm.layers import BatchNormAct2d

    layer = BatchNormAct2d(3).double()
    return {
        "out": Synchronised(layer, group)(group.part(batch(6)[0])).detach() if group.size > 1 else layer(batch(6)[0])
    }


def in_bf16(group: ProcessGroup) -> dict[str, Tensor]:
    """Under autocast a convolution gives bfloat16, and so does the batch norm after it; statistics stay float32."""
    layer = Synchronised(norm(torch.float32), group) if group.size > 1 else norm(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(group.part(batch(6)[0].bfloat16()))
    assert out.dtype == torch.bfloat16
    return {"out 0": out.detach(), **layer.state_dict()}
