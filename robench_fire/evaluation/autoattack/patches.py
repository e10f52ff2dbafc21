"""Logits of images that differ from known ones in one square: only what the square reaches is computed again.

A change of a few pixels reaches a few more with each convolution. Until it reaches nearly the whole of a feature map,
convolutions, sums and elementwise operations are computed on the part that it reaches, and the values around it come
from the images as they were. This is the same function as the whole model's, up to rounding.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from robench_fire import stopping
from robench_fire.evaluation import checks
from robench_fire.evaluation.autoattack.forwards import part
from robench_fire.evaluation.autoattack.square import Area, within
from robench_fire.evaluation.autoattack.steps import Step, steps_of, traced
from robench_fire.problem.pgd import Forward

WIDE = 0.7  # of a feature map: from there on the whole of it is computed
SPARES = 0.1  # of a forward's products, at least, or it is not worth the trouble
SIDE = 16  # of the smallest images that are large beside a convolution
BYTES = 2**29  # of values that are kept at a time


class Patch(NamedTuple):
    """Values (N, C, h, w) in an area of feature maps (N, C, H, W) that are as they were elsewhere."""

    area: Area
    values: Tensor


Value = Patch | Tensor


def tracked(model: nn.Module, images: Tensor, num_classes: int, forward: Forward) -> Tracked | None:
    """``model``, in eval mode, as a tracked one; None if it cannot be, or if that spares little on images like these.

    It is held to the logits of ``forward``, before and after a change.
    """
    few, rows = images[:4], torch.arange(len(images[:4]))
    if images.device.type != "cpu" or min(images.shape[2:]) < SIDE:
        return None
    try:
        found = Tracked(traced(model), num_classes)
        changed, area = few.clone(), _middle(few)
        changed[within(area)] = 1 - changed[within(area)]
        with torch.no_grad():
            expected = torch.stack([forward(few), forward(changed)])
            seen = torch.stack([found.begin(few), found.ask(rows, area, changed[within(area)])])
        worth = found.computed < 1 - SPARES
        found.forget()
    except Exception:  # whatever a model of unknown make objects to
        return None
    return found if worth and torch.allclose(seen, expected, rtol=1e-3, atol=1e-4) else None


def _middle(x: Tensor) -> Area:
    """Four by four pixels."""
    down, across = (slice(size // 2 - 2, size // 2 + 2) for size in x.shape[2:])
    return down, across


class Tracked:
    """A traced model that remembers the feature maps of images, at most ``room`` of them.

    ``computed``: the share of the convolutions' products that the last question took.
    """

    def __init__(self, graph: fx.GraphModule, num_classes: int) -> None:
        self._num_classes = num_classes
        self._fixed, self._steps, self._output = steps_of(graph)
        self._known: dict[fx.Node, Tensor] = {}  # (N, H, W, C)
        self._values: dict[fx.Node, Value] = {}  # of the last question
        self._products, self.computed, self.room = 1, 1.0, 1

    def begin(self, x: Tensor) -> Tensor:
        """Remember the feature maps of ``x`` (N, C, H, W); its logits."""
        self._known = {}
        with torch.inference_mode():
            logits = self._run(torch.arange(len(x)), x)
            for node, value in self._values.items():
                if isinstance(value, Tensor) and value.dim() == 4:
                    self._known[node] = value.permute(0, 2, 3, 1).contiguous()
        held = sum(each.numel() * each.element_size() for each in self._known.values())
        self.room = max(1, min(part(x), BYTES * len(x) // held))
        return logits.clone()

    def forget(self) -> None:
        """Free the memory."""
        self._known, self._values = {}, {}

    def ask(self, rows: Tensor, area: Area, values: Tensor) -> Tensor:
        """The logits of the images ``rows`` if ``area`` of each held ``values`` (N, C, h, w)."""
        stopping.check()
        with torch.inference_mode():
            found = self._run(rows, self._narrow(Patch(area, values), self._steps[0].node, rows))
        return found.clone()  # an ordinary tensor

    def take(self, rows: Tensor, better: Tensor) -> None:
        """Remember that the images ``rows`` changed as was asked last, where ``better`` are their places."""
        with torch.inference_mode():
            for node, known in self._known.items():
                value = self._values[node]
                if isinstance(value, Patch):
                    known[_places(value.area)].index_copy_(0, rows, value.values[better].permute(0, 2, 3, 1))
                else:
                    known[rows] = value[better].permute(0, 2, 3, 1)

    def _run(self, rows: Tensor, x: Value) -> Tensor:
        values: dict[fx.Node, Any] = {**self._fixed, self._steps[0].node: x}
        products = 0
        for step in self._steps[1:]:
            values[step.node] = found = self._value(step, values, rows)
            if step.layer is not None:
                products += _size(found) * step.layer.weight.numel()
        self._values = {step.node: values[step.node] for step in self._steps if step.kept}
        self._products = self._products if self._known else products
        self.computed = products / self._products
        return checks.logits(values[self._output], len(rows), self._num_classes).float()

    def _value(self, step: Step, values: dict[fx.Node, Any], rows: Tensor) -> Value:
        """What a step computes: on a patch where it can, on whole feature maps otherwise."""
        patches = [values[each] for each in step.maps]
        if (step.pointwise or step.layer) and all(isinstance(each, Patch) for each in patches):
            if step.layer:
                return self._convolved(step, step.layer, patches[0], rows)
            area = _around([each.area for each in patches])
            grown = {each: self._grown(each, values[each], area, rows) for each in step.maps}
            return self._narrow(Patch(area, step.call({**self._fixed, **grown})), step.node, rows)
        whole: dict[fx.Node, Any] = {each: self._full(each, values[each], rows) for each in step.maps}
        return cast("Value", step.call({**self._fixed, **whole}))

    def _convolved(self, step: Step, layer: nn.Conv2d, patch: Patch, rows: Tensor) -> Value:
        height, width = self._known[step.maps[0]].shape[1:3]
        down, in_down, pad_down = _reached(patch.area[0], height, layer, 0)
        across, in_across, pad_across = _reached(patch.area[1], width, layer, 1)
        around = self._grown(step.maps[0], patch, (in_down, in_across), rows)
        if any((*pad_across, *pad_down)):
            around = functional.pad(around, (*pad_across, *pad_down))
        found = functional.conv2d(around, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)
        return self._narrow(Patch((down, across), found), step.node, rows)

    def _narrow(self, patch: Patch, node: fx.Node, rows: Tensor) -> Value:
        """The patch, or the whole feature maps if it is nearly all of them."""
        known = self._known.get(node)
        if known is None or _size(patch) < WIDE * known.shape[1] * known.shape[2]:
            return patch
        return cast("Tensor", self._full(node, patch, rows))

    def _grown(self, node: fx.Node, patch: Patch, area: Area, rows: Tensor) -> Tensor:
        """The values in another area around the patch: its own, and what is known."""
        if patch.area == area:
            return patch.values
        around = self._known[node][_places(area)].index_select(0, rows).permute(0, 3, 1, 2)
        down, across = (_common(*sides) for sides in zip(area, patch.area, strict=True))
        around[_counted(down, across, area)] = patch.values[_counted(down, across, patch.area)]
        return around

    def _full(self, node: fx.Node, value: Value, rows: Tensor) -> Any:
        if not isinstance(value, Patch):
            return value
        height, width = self._known[node].shape[1:3]
        return self._grown(node, value, (slice(0, height), slice(0, width)), rows)


def _size(value: Value) -> int:
    """How many places a feature map has."""
    height, width = (value.values if isinstance(value, Patch) else value).shape[2:]
    return height * width


def _around(areas: list[Area]) -> Area:
    """The smallest area that holds several."""
    down, across = (
        slice(min(each[side].start for each in areas), max(each[side].stop for each in areas)) for side in (0, 1)
    )
    return down, across


def _places(area: Area) -> tuple[slice, slice, slice]:
    """The index of an area of feature maps (N, H, W, C)."""
    down, across = area
    return slice(None), down, across


def _counted(down: slice, across: slice, area: Area) -> tuple[slice, slice, slice, slice]:
    """The index of rows and columns in (N, C, h, w), which begins where an area of the feature map does."""
    row, column = area[0].start, area[1].start
    rows, columns = slice(down.start - row, down.stop - row), slice(across.start - column, across.stop - column)
    return slice(None), slice(None), rows, columns


def _common(a: slice, b: slice) -> slice:
    """What two slices share; an empty one if they share nothing."""
    start = max(a.start, b.start)
    return slice(start, max(start, min(a.stop, b.stop)))


def _reached(changed: slice, size: int, layer: nn.Conv2d, side: int) -> tuple[slice, slice, tuple[int, int]]:
    """What a convolution computes anew along a side with ``changed`` places: which, from which, padded by how many."""
    stride, pad = layer.stride[side], int(layer.padding[side])
    reach = layer.dilation[side] * (layer.kernel_size[side] - 1)
    last = (size + 2 * pad - reach - 1) // stride
    first_out = min(max(0, -(-(changed.start + pad - reach) // stride)), last)
    last_out = max(first_out, min(last, (changed.stop - 1 + pad) // stride))
    first_in, last_in = first_out * stride - pad, last_out * stride - pad + reach
    inside = slice(max(0, first_in), min(size, last_in + 1))
    return slice(first_out, last_out + 1), inside, (max(0, -first_in), max(0, last_in + 1 - size))
