"""Several models of one architecture that compute side by side: torch.func.vmap over stacked weights."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


class Stacked(nn.Module):
    """Images (L * N, ...), the first N for the first of L models and so on, to logits (L * N, K).

    Parameter and buffer ``name`` of model l is row l of ``values[index of name]``, so that an elementwise optimiser
    treats every model as if it were alone.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.size = len(models)
        own = [dict(model.named_parameters()) for model in models]
        rest = [dict(model.named_buffers()) for model in models]
        self._names, self._buffer_names = list(own[0]), list(rest[0])
        self.weights = nn.ParameterList(torch.stack([each[name].detach() for each in own]) for name in self._names)
        for position, name in enumerate(self._buffer_names):
            self.register_buffer(f"buffer_{position}", torch.stack([each[name] for each in rest]))
        self._skeleton = [copy.deepcopy(models[0])]  # in a list, so that its own weights are not among ours

    def named_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters of all models, (L, ...), by the name that each model has for its own."""
        yield from zip(self._names, self.weights, strict=True)

    def _stack(self) -> dict[str, Tensor]:
        buffers = {name: self.get_buffer(f"buffer_{at}") for at, name in enumerate(self._buffer_names)}
        return dict(zip(self._names, self.weights, strict=True)) | buffers

    def forward(self, x: Tensor) -> Tensor:
        skeleton = self._skeleton[0].train(self.training)

        def alone(values: dict[str, Tensor], images: Tensor) -> Tensor:
            logits: Tensor = functional_call(skeleton, values, (images,))
            return logits

        return vmap(alone)(self._stack(), x.unflatten(0, (self.size, -1))).flatten(0, 1)

    def state_of(self, number: int) -> dict[str, Tensor]:
        """The state dict of model ``number``."""
        values = self._stack()
        return {name: values[name].detach()[number].clone() for name in self._skeleton[0].state_dict()}

    def load_states(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Continue from one state dict per model."""
        with torch.no_grad():
            for name, value in self._stack().items():
                value.copy_(torch.stack([state[name].to(value.device) for state in states]))


def refuses(model: nn.Module) -> str:
    """Why a model's copies would not train side by side as they do alone; empty where they would."""
    dropout = [
        name for name, part in model.named_modules() if isinstance(part, nn.modules.dropout._DropoutNd) and part.p
    ]
    if dropout:
        return f"{dropout[0]} drops units at random, one stream for all seeds"
    alone = {*dict(model.named_parameters()), *dict(model.named_buffers())}
    shared = [name for name in model.state_dict() if name not in alone]
    return f"{shared[0]} is the weight of another layer too" if shared else ""


def cannot_stack(model: nn.Module, shape: tuple[int, int, int]) -> str:
    """Why copies of a model cannot be computed side by side, found by trying on images of ``shape``; or ""."""
    x = torch.linspace(0, 1, 4 * math.prod(shape)).view(4, *shape).to(next(model.parameters()).device)
    stacked, alone = Stacked([model, model]), copy.deepcopy(model).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it could be faster
        try:
            stacked.train()(x).sum().backward()
            stacked.load_states([alone.state_dict()] * 2)  # batch statistics have moved
            found = stacked.eval()(x)
        except Exception as fault:  # whatever torch.func objects to
            return f"its network does not go through torch.func.vmap ({str(fault).strip().splitlines()[0][:120]})"
    with torch.no_grad():
        same = torch.allclose(found, alone(x), rtol=1e-3, atol=1e-4)
    return "" if same else "its network computes something else under torch.func.vmap"
