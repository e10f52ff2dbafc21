"""The adapters of docs/own-attack.md: what is counted is what the library itself breaks inside the ball.

foolbox is always here. torchattacks, whose wheel brings a RobustBench that would overwrite ours, is tried too where
TORCHATTACKS names the folder that ``pip install --no-deps --target FOLDER torchattacks`` made.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import foolbox
import pytest
import torch
from evaluated_models import taught
from repository import ROOT
from torch import Tensor, nn

import robench_fire as rb
from robench_fire.data.batches import to_float
from robench_fire.problem.dataset import Splits

PAGE = (ROOT / "docs" / "own-attack.md").read_text(encoding="utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"<!-- example: (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))
APART = os.environ.get("TORCHATTACKS", "")
NAMES = ["attack.py:climb", "libraries.py:bim", "libraries.py:deepfool", *(["pgd.py:pgd"] if APART else [])]
EPS = 0.15


@pytest.fixture(scope="module")
def model(small: Splits) -> nn.Module:
    return taught(to_float(small.train.images), small.train.labels).eval()


@pytest.fixture(scope="module")
def digits(small: Splits) -> tuple[Tensor, Tensor]:
    return to_float(small.test.images), small.test.labels


def broken(model: nn.Module, x_adv: Tensor, x: Tensor, y: Tensor) -> Tensor:
    near = (x_adv - x).flatten(1).abs().amax(1) <= EPS * (1 + 1e-5)
    return near & (x_adv.flatten(1).amin(1) >= 0) & (x_adv.flatten(1).amax(1) <= 1) & (model(x_adv).argmax(1) != y)


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_breaks_most_images(
    name: str, model: nn.Module, digits: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    file, _, function = name.partition(":")
    (tmp_path / file).write_text(EXAMPLES[file].replace("torchattacks-only", APART), encoding="utf-8")
    found = rb.evaluate(model, *digits, threat=rb.Linf(EPS), attacks=f"{tmp_path / file}:{function}", progress=False)
    assert found.robust_accuracy < found.clean_accuracy / 2
    told = found.facts["uncounted"]
    assert (told["outside"] > 0) == (function == "deepfool")  # which is not told the radius
    assert told["beyond"] == told["not_finite"] == 0


def test_foolbox_itself_breaks_the_same(model: nn.Module, digits: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    x, y = digits
    correct = model(x).argmax(1) == y
    attack = foolbox.attacks.LinfDeepFoolAttack(steps=20)
    _, x_adv, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1)), x[correct], y[correct], epsilons=None)
    (tmp_path / "libraries.py").write_text(EXAMPLES["libraries.py"], encoding="utf-8")
    found = rb.evaluate(
        model, x, y, threat=rb.Linf(EPS), attacks=f"{tmp_path}/libraries.py:deepfool", progress=False, batch_size=64
    )
    with torch.no_grad():
        expected = broken(model, x_adv, x[correct], y[correct])
    assert 0 < expected.sum() < len(expected)
    assert (~found.robust[correct.numpy()] == expected.numpy()).all()
