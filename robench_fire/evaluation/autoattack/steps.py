"""A traced model as steps, each of which says whether it can be computed on a part of a feature map."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from robench_fire.evaluation.autoattack.forwards import Affine, fused, simplified

POINTWISE = {
    operator.add, operator.sub, operator.mul, operator.truediv, torch.add, torch.sub, torch.mul, torch.div,
    torch.relu, functional.relu, functional.silu, functional.gelu, functional.leaky_relu, functional.elu, torch.tanh,
}  # fmt: skip
POINTWISE_METHODS = {"add", "sub", "mul", "div", "relu", "contiguous"}
POINTWISE_LAYERS = (Affine, nn.ReLU, nn.SiLU, nn.GELU, nn.LeakyReLU, nn.ELU, nn.Tanh, nn.Identity, nn.Dropout)


class Step(NamedTuple):
    """A node of the graph: what it computes, of which maps, whether place by place, and what it is kept for.

    ``layer``: if it is a convolution that can be computed on a part. ``kept``: values around a patch will be asked for.
    """

    node: fx.Node
    call: Callable[[Mapping[fx.Node, Any]], Any]
    maps: tuple[fx.Node, ...]
    pointwise: bool
    layer: nn.Conv2d | None
    kept: bool


def traced(model: nn.Module) -> fx.GraphModule:
    """A copy, simplified, in which nothing is changed in place.

    Raises:
        ValueError: if it cannot be traced, or changes values in place for good.
    """
    graph = simplified(fused(copy.deepcopy(model)))
    if not isinstance(graph, fx.GraphModule):
        raise ValueError("not traced")
    for layer in graph.modules():
        if hasattr(layer, "inplace"):
            setattr(layer, "inplace", False)  # noqa: B010  # types know no such attribute
    for node in graph.graph.nodes:
        if node.target is operator.iadd:
            node.target = operator.add
        if node.kwargs.get("inplace"):
            node.update_kwarg("inplace", False)
        if node.op == "call_method" and str(node.target).endswith("_"):
            raise ValueError(f"{node.target} changes values in place")
    graph.recompile()
    return graph.to(memory_format=torch.channels_last)


def steps_of(graph: fx.GraphModule) -> tuple[dict[fx.Node, Any], list[Step], fx.Node]:
    """What does not depend on the images, the steps that do, and the node of the logits."""
    *nodes, output = graph.graph.nodes
    calls = {node: _call(graph, node) for node in nodes}
    fixed: dict[fx.Node, Any] = {}
    for node in nodes:
        if node.op != "placeholder" and all(each in fixed for each in node.all_input_nodes):
            fixed[node] = calls[node](fixed)
    maps = {node: tuple(each for each in node.all_input_nodes if each not in fixed) for node in (*nodes, output)}
    alone = {node for node in nodes if _pointwise(graph, node, fixed)}
    steps = list[Step]()
    for node in nodes:
        if node not in fixed:
            layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
            conv = layer if isinstance(layer, nn.Conv2d) and _plain(layer) else None
            kept = any(user not in alone or len(maps[user]) > 1 for user in node.users)
            steps.append(Step(node, calls[node], maps[node], node in alone, conv, kept))
    return fixed, steps, cast(fx.Node, output.args[0])


def _call(graph: fx.GraphModule, node: fx.Node) -> Callable[[Mapping[fx.Node, Any]], Any]:
    """A node's operation, of the values of other nodes."""
    target: Any = node.target
    if node.op == "call_module":
        target = graph.get_submodule(str(target))
    if node.op == "get_attr":
        return lambda values: operator.attrgetter(str(node.target))(graph)
    if node.op == "call_module" and not node.kwargs and node.args == tuple(node.all_input_nodes[:1]):
        (source,) = node.args
        return lambda values: target(values[cast(fx.Node, source)])

    def call(values: Mapping[fx.Node, Any]) -> Any:
        inputs = fx.map_arg(node.args, values.__getitem__)
        named = fx.map_arg(node.kwargs, values.__getitem__)
        if node.op == "call_method":
            return getattr(inputs[0], str(node.target))(*inputs[1:], **named)
        return target(*inputs, **named)

    return call


def _pointwise(graph: fx.GraphModule, node: fx.Node, fixed: Mapping[fx.Node, Any]) -> bool:
    """Whether each value that a node computes depends on nothing but those in its place."""
    constants = [fixed[each] for each in node.all_input_nodes if each in fixed]
    if not all(isinstance(each, Tensor) and each.shape[-2:].numel() == 1 for each in constants):
        return False
    if node.op == "call_module":
        return isinstance(graph.get_submodule(str(node.target)), POINTWISE_LAYERS)
    return node.target in (POINTWISE if node.op == "call_function" else POINTWISE_METHODS)


def _plain(layer: nn.Conv2d) -> bool:
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
