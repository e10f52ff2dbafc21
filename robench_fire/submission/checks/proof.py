"""RobustBench's own code on a bundle's checkpoint: its loader, its accuracy, its benchmark."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robench_fire.devices.random_streams import generator
from robench_fire.evaluation.autoattack.attack_sets import inside
from robench_fire.evaluation.reliability import Check
from robench_fire.models import unpickling
from robench_fire.problem.pgd import Pgd, misclassify
from robench_fire.problem.threat import THREATS, Threat
from robench_fire.progress import Report
from robench_fire.quantity import Quantity
from robench_fire.statistics.summary import noticeable
from robench_fire.submission.bundle import checkpoints
from robench_fire.submission.claims.claim import Claim

POINTS = 0.05  # percentage points by which RobustBench's own tests let an accuracy differ
BATCH = 500
ATTACKED = 1000  # images claimed robust that PGD-20 tries once more


@contextmanager
def loaded(folder: Path, claim: Claim, device: torch.device) -> Iterator[nn.Module]:
    """The checkpoint through RobustBench's loader, which finds it where it would have downloaded it to."""
    from robustbench.utils import load_model

    dataset, norm = claim.dataset, claim.facts["norm"]
    with tempfile.TemporaryDirectory() as models:
        place = Path(models) / dataset / norm / f"{claim.name}.pt"
        place.parent.mkdir(parents=True)
        shutil.copyfile(checkpoints(folder, claim)[1], place)
        with contextlib.redirect_stdout(io.StringIO()):
            model = load_model(claim.name, model_dir=models, dataset=dataset, threat_model=norm)
        yield model.to(device).eval()


@dataclass(frozen=True)
class Proof:
    """RobustBench's model of a bundle, and what it is proved with.

    The test images ``x`` (N, C, H, W) in [0, 1], labels ``y`` (N,), and the ``masks`` (2, N) of the evaluation: correct
    on the image, correct under AutoAttack.
    """

    folder: Path
    claim: Claim
    model: nn.Module
    x: Tensor
    y: Tensor
    masks: NDArray[Any]
    report: Report

    @property
    def threat(self) -> Threat:
        return THREATS[self.claim.facts["norm"]](eps=Quantity(self.claim.facts["eps"]))

    def clean(self) -> list[Check]:
        """Clean accuracy by RobustBench's own function, on all test images."""
        return [self._accuracy("clean accuracy by RobustBench", self.x, self.masks[0])]

    def perturbed(self) -> list[Check]:
        """The perturbed images: inside the threat model, and each as damaging as claimed."""
        x_adv = unpickling.read(self.folder / "evidence" / "adv_examples.pt")
        if not isinstance(x_adv, Tensor) or x_adv.shape != self.x.shape:
            return [Check("perturbed images", False, f"not a tensor of shape {tuple(self.x.shape)}")]
        x_adv = x_adv.to(self.x.device)
        outside = int((~inside(self.threat, x_adv, self.x)).sum())
        found = f"{outside} of {len(x_adv):,} are outside {self.threat.norm} {self.threat.eps} or [0, 1]"
        clean, robust = torch.from_numpy(self.masks).to(self.x.device)
        altered = int((x_adv != self.x).flatten(1).any(1)[~clean | robust].sum())
        found += f"; {altered} that no attack broke are not the clean image" if altered else ""
        return [
            Check("perturbed images are in the threat model", not (outside or altered), found),
            self._accuracy("robust accuracy on them by RobustBench", x_adv, self.masks[1]),
        ]

    def _accuracy(self, name: str, x: Tensor, mask: NDArray[Any]) -> Check:
        """RobustBench's accuracy against a mask, image by image."""
        from robustbench.eval import clean_accuracy

        seen: list[Tensor] = []

        def asked(part: Tensor) -> Tensor:
            found: Tensor = self.model(part)
            seen.append(found.argmax(1))
            return found

        correct = 0.0
        for first in range(0, len(x), BATCH):
            self.report(name, first, len(x), "")
            part, label = x[first : first + BATCH], self.y[first : first + BATCH]
            correct += clean_accuracy(asked, part, label, batch_size=BATCH) * len(part)
        differing = int(((torch.cat(seen) == self.y).cpu().numpy() != mask).sum())
        found = f"{100 * correct / len(x):.2f} %, claimed {100 * mask.mean():.2f} %; {differing} images differ"
        return Check(name, differing <= POINTS / 100 * len(x) + 1e-9, found)

    def attacked(self) -> list[Check]:
        """PGD-20 against images that are claimed robust: next to none may fall where AutoAttack failed."""
        chosen = self._drawn(np.flatnonzero(self.masks[1]), ATTACKED)
        pgd = Pgd(steps=20, step=Quantity(float(self.threat.eps) / 10), start="uniform")
        fell = 0
        for first in range(0, len(chosen), BATCH):
            self.report("PGD-20 on images claimed robust", first, len(chosen), "")
            part = chosen[first : first + BATCH]
            x, y = self.x[part], self.y[part]
            draw = generator(x.device, 0, "submission", first)
            with torch.no_grad():
                fell += int((self.model(pgd(self.model, misclassify(y), x, self.threat, draw)).argmax(1) != y).sum())
        found = f"{fell} of {len(chosen)} fall under PGD-20"
        return [Check("images claimed robust stand", not noticeable(fell, len(chosen)), found)]

    def benchmark(self, examples: int) -> list[Check]:
        """``robustbench.eval.benchmark``, end to end, on images of which half are claimed robust."""
        from robustbench import eval as module

        robust, broken = np.flatnonzero(self.masks[1]), np.flatnonzero(~self.masks[1])
        half = self._drawn(robust, examples // 2)
        few = torch.cat([half, self._drawn(broken, examples - len(half))]).sort().values
        self.report("robustbench.eval.benchmark", 0, 1, f"AutoAttack on {len(few)} images")
        with _given(module, self.x[few].cpu(), self.y[few].cpu()), contextlib.redirect_stdout(io.StringIO()):
            clean, left = module.benchmark(
                self.model, n_examples=len(few), dataset=self.claim.dataset, threat_model=self.threat.norm,
                eps=float(self.threat.eps), device=self.x.device, batch_size=min(len(few), BATCH),
            )  # fmt: skip
        own = [int(mask[few.cpu().numpy()].sum()) for mask in self.masks]
        theirs = [round(clean * len(few)), round(left * len(few))]
        agree = theirs[0] == own[0] and not noticeable(abs(theirs[1] - own[1]), len(few))
        found = f"of {len(few)} images {theirs[0]} clean and {theirs[1]} robust; our masks: {own[0]}, {own[1]}"
        return [Check("robustbench.eval.benchmark", agree, found)]

    def _drawn(self, index: NDArray[Any], count: int) -> Tensor:
        """Up to ``count`` of these images, drawn at random."""
        draw = generator(torch.device("cpu"), 0, "submission", len(index))
        return torch.from_numpy(index)[torch.randperm(len(index), generator=draw)[:count]].to(self.x.device)


@contextmanager
def _given(module: Any, x: Tensor, y: Tensor) -> Iterator[None]:
    """RobustBench with verified images where its data loader would download."""
    before = module.load_clean_dataset

    def load(dataset: Any, n_examples: int, *rest: Any) -> tuple[Tensor, Tensor]:
        return x[:n_examples], y[:n_examples]

    module.load_clean_dataset = load
    try:
        yield
    finally:
        module.load_clean_dataset = before
