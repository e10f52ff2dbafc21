"""The copy of a model that attacks search with: same logits, same gradients, and no harm to the model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robench_fire.evaluation.autoattack.forwards import Affine, as_loaded, forward_of, fused, simplified
from robench_fire.models import architectures
from robench_fire.models.small_cnns import DigitsCNN

ARCHS = [("wrn-10-1", (3, 32, 32)), ("preact-resnet-18", (3, 32, 32)), ("digits-cnn", (1, 8, 8))]


def settled(arch: str, shape: tuple[int, int, int]) -> nn.Module:
    """A model whose batch norms have statistics of their own."""
    torch.manual_seed(0)
    model = architectures.build(arch, shape, 10, "none", (), ())
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_(std=0.1)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize(("arch", "shape"), ARCHS)
def test_logits_and_gradients_are_the_models(arch: str, shape: tuple[int, int, int]) -> None:
    model = settled(arch, shape)
    x = torch.rand(20, *shape, generator=torch.Generator().manual_seed(1))
    before = {name: (value.clone(), value.stride()) for name, value in model.state_dict().items()}
    outputs, gradients = [], []
    for forward in (as_loaded(model, x, 10, False), forward_of(model, x, 10)):
        with torch.no_grad():
            outputs.append(forward(x))
        asked = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(forward(asked)[:, 0].sum(), asked)
        gradients.append(grad)
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-4)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert value.stride() == before[name][1]


def test_batch_norms_that_batches_move_are_left_alone() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1, track_running_stats=False), nn.BatchNorm2d(1))
    model.eval()[2].train()
    assert [type(module) for module in simplified(model)] == [Affine, nn.BatchNorm2d, nn.BatchNorm2d]


def test_batch_norms_after_a_convolution_are_folded_into_it() -> None:
    model = settled("wrn-10-1", (3, 32, 32))
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    folded = fused(model)
    norms = [sum(isinstance(module, nn.BatchNorm2d) for module in each.modules()) for each in (model, folded)]
    assert norms == [7, 4]  # one inside each of the three blocks
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)


def test_a_model_that_decides_by_its_data_is_not_traced() -> None:
    class Decides(DigitsCNN):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = super().forward(x if x.mean() > 0.5 else 1 - x)
            return logits

    model = Decides().eval()
    assert fused(model) is model


class ReadsItsNorm(nn.Module):
    """Breaks without a batch norm to look into."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.norm = DigitsCNN(), nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(self.norm(x)) * self.norm.weight
        return logits


class CannotBeCopied(DigitsCNN):
    """As models with hooks or handles are."""

    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError("no")


class Random(DigitsCNN):
    """Never gives the same logits twice."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x) + torch.rand(len(x), 1)
        return logits


@pytest.mark.parametrize("kind", [ReadsItsNorm, CannotBeCopied, Random])
def test_what_cannot_be_simplified_is_asked_as_it_is(kind: type[nn.Module]) -> None:
    model, x = kind().eval().requires_grad_(False), torch.rand(9, 1, 8, 8)
    forward = forward_of(model, x, 10)
    torch.manual_seed(0)
    with torch.no_grad():
        found = forward(x)
    torch.manual_seed(0)
    with torch.no_grad():
        assert torch.equal(found, model(x))
