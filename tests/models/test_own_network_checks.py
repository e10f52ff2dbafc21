"""A mistake in a network of a user's own is one line that names it, before anything is spent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from own_networks import BASE, NET, named

from robench_fire.errors import RecipeError
from robench_fire.models import architectures
from robench_fire.models.own import network
from robench_fire.models.stacked import cannot_stack, refuses

DIGITS = (1, 8, 8)

FORWARD = {
    "return (out, x)": r"returns a tuple of #0, #1, not logits; name its logits, as in --arch '\./net\.py:Own#0'$",
    "return {'scores': out}": r"returns a dict of #scores, not logits; .*:Own#scores'$",
    "return out.softmax(1)": r"returns probabilities; return logits, without softmax$",
    "return out / 0": r"returns logits that are not finite on random images",
    "return out[:, :7]": r"returns \(2, 7\) for 2 images; logits of 10 .*; it must take num_classes$",
    "return out[..., None]": r"returns \(2, 10, 1\) for 2 images; logits of 10 classes are \(2, 10\)$",
    "return out.half()": r"returns float16; leave logits in float32$",
    "return out.detach()": r"its logits have no finite gradient by the images",
    "return (out, x) if self.training else out": r"in train mode returns a tuple of #0, #1",
    "return self.head(x)": r"^net\.py:17, forward: RuntimeError: .* \(on two 1x8x8 images in \[0, 1\], in eval mode\)$",
    "raise KeyError(3)": r"^net\.py:17, forward: KeyError: 3 \(on two",
}
INIT = {
    "self.half()": r"head\.weight is float16; leave weights in float32, --precision chooses",
    "self.head.weight.requires_grad_(False)": r"1 of its parameters are frozen .*, head\.weight first",
    "self.head = nn.LazyLinear(3)": r"head\.weight is lazy",
    "del self.head": r"the network has no parameters",
    "1 / 0": r"^net\.py:17, __init__: ZeroDivisionError: division by zero$",
}  # fmt: skip
CALLS = {
    "def Own(num_classes):\n    return [1]\n": r"^net\.py:14, Own: returns a list; return a torch\.nn\.Module$",
    "made = Base()\ndef Own(num_classes):\n    return made\n": r"returns the same module each time",
    "def Own(num_classes, *, size, **more):\n    return Base()\n": r"^net\.py:14, Own: it needs size",
}  # fmt: skip
SOURCES = {
    **{f"class Own(Base):\n    def forward(self, x):\n        out = super().forward(x)\n        {line}\n": said
       for line, said in FORWARD.items()},
    **{f"class Own(Base):\n    def __init__(self, num_classes):\n        super().__init__()\n        {line}\n": said
       for line, said in INIT.items()},
    **CALLS,
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_a_mistake_is_one_line(source: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=SOURCES[source]) as caught:
        architectures.check(network.declared(named(tmp_path, BASE + source, "Own"))[0], DIGITS, 10)
    assert len(str(caught.value).splitlines()) == 1
    assert "net.py" in str(caught.value)


def test_a_network_that_is_right_passes_and_leaves_the_random_numbers_alone(tmp_path: Path) -> None:
    arch = network.declared(named(tmp_path))[0]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    architectures.check(arch, DIGITS, 10)
    assert set(architectures.shapes(arch, DIGITS, 10)) > {"0.weight", "4.bias"}
    assert torch.equal(torch.get_rng_state(), before)


def test_one_in_train_mode_and_a_frozen_one_can_be_evaluated(tmp_path: Path) -> None:
    source = BASE + "def Own(num_classes):\n    made = Base(num_classes).train()\n"
    source += "    return made.requires_grad_(False)\n"
    arch = network.declared(named(tmp_path, source, "Own"))[0]
    assert list(architectures.shapes(arch, DIGITS, 10)) == ["head.weight", "head.bias"]


def test_what_vmap_cannot_do_is_not_trained_together(tmp_path: Path) -> None:
    source = BASE + "class Own(Base):\n    def forward(self, x):\n        out = super().forward(x)\n"
    source += "        return out if out.sum() > 0 else -out\n"
    made = {
        name: architectures.builder(network.declared(arch)[0], DIGITS)(DIGITS, 10)
        for name, arch in {"branch": named(tmp_path, source, "Own"), "plain": named(tmp_path / "2", NET)}.items()
    }
    assert "does not go through torch.func.vmap" in cannot_stack(made["branch"], DIGITS)
    before = {name: value.clone() for name, value in made["plain"].state_dict().items()}
    assert cannot_stack(made["plain"], DIGITS) == ""
    assert all(torch.equal(value, before[name]) for name, value in made["plain"].state_dict().items())


def test_tied_weights_are_not_trained_together(tmp_path: Path) -> None:
    source = BASE + "class Own(Base):\n    def __init__(self, num_classes):\n        super().__init__(num_classes)\n"
    source += "        self.again = nn.Linear(64, num_classes)\n        self.again.weight = self.head.weight\n"
    model = architectures.builder(network.declared(named(tmp_path, source, "Own"))[0], DIGITS)(DIGITS, 10)
    assert refuses(model) == "again.weight is the weight of another layer too"
