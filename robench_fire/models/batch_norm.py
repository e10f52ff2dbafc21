"""Which images a batch norm takes its statistics from: a slice of the batch, or the batches of all processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from robench_fire.devices.process_group import ProcessGroup
from robench_fire.errors import RecipeError


class _Trained(_BatchNorm):
    """A batch norm with statistics of its own while it trains; else, and in its state dict, as the one replaced."""

    def __init__(self, of: _BatchNorm, group: ProcessGroup) -> None:
        super().__init__(of.num_features, of.eps, of.momentum, of.affine, of.track_running_stats)
        self.weight, self.bias = of.weight, of.bias
        self.running_mean, self.running_var = of.running_mean, of.running_var
        self.num_batches_tracked = of.num_batches_tracked
        self.drop = getattr(of, "drop", nn.Identity())  # timm's BatchNormAct2d goes on with these, by these names
        self.act = getattr(of, "act", nn.Identity())
        self.group = group
        self.train(of.training)

    def _check_input_dim(self, input: Tensor) -> None:
        return

    def forward(self, input: Tensor) -> Tensor:
        x: Tensor = self.act(self.drop(self.normalised(input) if self.training else super().forward(input)))
        return x

    def normalised(self, x: Tensor) -> Tensor:
        """``x`` normalised by the statistics it should be; running statistics move once."""
        raise NotImplementedError

    def _move(self, mean: Tensor, variance: Tensor) -> None:
        """Take the running statistics towards these, as torch's batch norm does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.detach().to(self.running_var.dtype), share)


class Ghost(_Trained):
    """Each slice of the batch by its own statistics; the running ones move by the mean over all processes' slices."""

    def normalised(self, x: Tensor) -> Tensor:
        slices, dims = x.split(self.group.slice_size), _all_but_channels(x)
        with torch.no_grad():
            pairs = [torch.var_mean(_wide(part), dims) for part in slices]  # the variance is the unbiased one
            sums = torch.stack([torch.stack(pair) for pair in pairs]).sum(0)
            if self.group.size > 1:
                counted = torch.cat([sums.flatten(), sums.new_full((1,), len(slices))])
                self.group.total(counted)
                sums = counted[:-1].view_as(sums) / counted[-1]
            else:
                sums = sums / len(slices)
        self._move(mean=sums[1], variance=sums[0])
        return torch.cat(
            [F.batch_norm(part, None, None, self.weight, self.bias, True, 0.0, self.eps) for part in slices]
        )


class Synchronised(_Trained):
    """The statistics of all processes' images, on any backend; torch's SyncBatchNorm computes on GPUs only."""

    def normalised(self, x: Tensor) -> Tensor:
        dims, wide = _all_but_channels(x), _wide(x)
        shape = [1, -1] + [1] * (x.dim() - 2)
        rows = wide.new_full((1,), x.numel() // x.shape[1])
        counted = self.group.summed(torch.cat([wide.sum(dims), rows]))
        count = counted[-1].detach()
        if x.numel() // x.shape[1] * self.group.size < 2:
            raise ValueError("Expected more than 1 value per channel when training")  # as torch's batch norm does
        centred = wide - (counted[:-1] / count).view(shape)
        variance = self.group.summed(centred.square().sum(dims)) / count
        self._move(counted[:-1] / count, variance * count / (count - 1))
        result = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        rounded: Tensor = result.to(x.dtype)
        return rounded


def _all_but_channels(x: Tensor) -> list[int]:
    return [dim for dim in range(x.dim()) if dim != 1]


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def arranged(model: nn.Module, ghost_batch: int | None, group: ProcessGroup, device: torch.device) -> nn.Module:
    """``model`` with the batch norms that a recipe's ``ghost_batch`` asks for in a ``group``; the same state dict.

    Raises:
        RecipeError: for a kind of batch norm that is not known.
    """
    if ghost_batch is None and group.size == 1:
        return model

    def made(of: _BatchNorm) -> nn.Module:
        fused = hasattr(of, "act") and hasattr(of, "drop")
        if type(of).forward is not _BatchNorm.forward and not fused:
            raise RecipeError(f"no ghost or synchronised batch norm in place of this model's {type(of).__name__}")
        if ghost_batch is not None:
            return Ghost(of, group)
        if device.type == "cuda" and not fused:
            synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(of)
            return synchronised
        return Synchronised(of, group)

    return _replaced(model, made)


def _replaced(model: nn.Module, make: Callable[[_BatchNorm], nn.Module]) -> nn.Module:
    if isinstance(model, _BatchNorm):
        return make(model)
    for name, child in model.named_children():
        setattr(model, name, _replaced(child, make))
    return model
