"""An estimate of AutoAttack at a small share of its cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import ran
from devices import CPU
from torch import Tensor

from robench_fire.evaluation.autoattack.attack_sets import SETS, AttackedBlock, Heard, perturb
from robench_fire.problem.threat import L2, Linf, Threat


@pytest.mark.parametrize("threat", [Linf("0.01"), L2("0.01")], ids=lambda threat: threat.norm)
def test_an_image_that_stands_costs_a_twentieth_at_most(threat: Threat) -> None:
    """Counted in forward and backward passes: of images that all attacks go on with to their end."""
    weight = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    weight[:, 0] += 5  # class 0 wins whatever the perturbation
    spent = {"forwards": 0, "backwards": 0}

    def forward(x: Tensor) -> Tensor:
        spent["forwards"] += len(x)
        logits = x.flatten(1) @ weight
        if logits.requires_grad:
            logits.register_hook(lambda grad: spent.update(backwards=spent["backwards"] + len(grad)))
        return logits

    def cost(name: str) -> int:
        spent.update(forwards=0, backwards=0)
        x = torch.full((2, 1, 8, 8), 0.5, device=CPU)
        for attack in SETS[name]:
            block = AttackedBlock(forward, x, torch.zeros(2, dtype=torch.long), threat, 10, 100, Heard())
            assert (forward(perturb(attack, block, 0, lambda done: None)).argmax(1) == 0).all()
        return sum(spent.values())

    assert cost("aa") > 20 * cost("quick") > 0


def test_it_is_said_to_be_an_estimate_and_stands_in_no_table(tmp_path: Path) -> None:
    ran(tmp_path, *"train madry digits --seed 0 --epochs 1 --no-eval".split())
    said = ran(tmp_path, *"eval runs --attack quick --examples 20".split())
    assert "quick: an estimate for development, not AutoAttack" in said.stdout + said.stderr
    table = ran(tmp_path, "table", code=4)
    assert "quick" not in table.stdout
