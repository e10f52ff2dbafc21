"""Broken images leave an attack at once.

pyautoattack's APGD and FAB keep all their images to the end. Their loops are left as they are; what changes is the
forward they are handed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch
from pyautoattack.fab_base import FABAttack
from torch import Tensor

from robench_fire.evaluation.autoattack.fab_projection import lent
from robench_fire.problem.pgd import Forward

Inside = Callable[[Tensor, Tensor], Tensor]
"""Perturbed images and images (N, C, H, W) to (N,): whether the threat model allows the perturbation."""


NARROW = 1e-4  # of the logits' range; far more than float32's rounding moves them
NARROW_IN_TF32 = 1e-2


class AllBroken(Exception):
    """Every image is broken; ends an attack's loop."""


class Leaving:
    """A forward over the batch ``x`` (N, C, H, W) that asks the model only about images that are not broken yet.

    An image is ``broken`` by a perturbation of it that is misclassified inside the threat model, which ``found``
    keeps. It leaves unless the misclassification is so narrow that rounding could undo it; from then on its logits
    are zeros. ``open`` holds the indices of those that the model is asked about.

    Raises:
        AllBroken: when called with none left.
    """

    def __init__(self, forward: Forward, x: Tensor, label: Tensor, inside: Inside) -> None:
        self._forward, self._x, self._label, self._inside = forward, x, label, inside
        self.found, self.broken = x.clone(), torch.zeros_like(label, dtype=torch.bool)
        self.open = torch.arange(len(x), device=x.device)

    def __call__(self, x_adv: Tensor) -> Tensor:
        if not len(self.open):
            raise AllBroken
        asked, rows = (x_adv, self.open) if len(self.open) == len(x_adv) else (x_adv[self.open], self.open)
        logits = self._forward(asked)
        self.close(logits.detach(), asked.detach())
        if len(rows) == len(x_adv):
            return logits
        return logits.new_zeros(len(x_adv), logits.shape[1]).index_copy(0, rows, logits)

    def close(self, logits: Tensor, asked: Tensor) -> None:
        """Let the open images leave that ``asked``, perturbations of them with these ``logits``, break."""
        with torch.no_grad():
            wrong = (logits.argmax(1) != self._label[self.open]).nonzero().flatten()
            if len(wrong):
                rows = self.open[wrong]
                hit = self._inside(asked[wrong], self._x[rows])
                self.found[rows[hit]] = asked[wrong[hit]]
                self.broken[rows[hit]] = True
                leave = wrong[hit & self._clearly(logits[wrong], self._label[rows])]
                stay = torch.ones_like(self.open, dtype=torch.bool)
                stay[leave] = False
                self.open = self.open[stay]

    @staticmethod
    def _clearly(logits: Tensor, label: Tensor) -> Tensor:
        """(N,) whether the label's logit is below the largest one by more than rounding."""
        narrow = NARROW_IN_TF32 if logits.is_cuda and torch.backends.cudnn.allow_tf32 else NARROW
        largest = logits.amax(1)
        gap = largest - logits.gather(1, label[:, None]).flatten()
        return gap > narrow * (largest - logits.amin(1))


class Fab(FABAttack):  # type: ignore[misc]  # pyautoattack has no types
    """FAB over (image, target class) pairs at once; when one pair breaks an image, all its pairs leave.

    Without a random start the targets of an image are independent of each other, so this finds what upstream's loop
    over targets finds, in larger batches. FAB seeks the smallest perturbation; here an image leaves with the first one
    inside the threat model. ``image`` (N,) says which image of the block a row belongs to.
    """

    def __init__(self, forward: Forward, inside: Inside, classes: int, **settings: object) -> None:
        super().__init__(**settings)
        self._forward, self._inside, self._classes = forward, inside, classes

    def search(
        self, x: Tensor, label: Tensor, target: Tensor | None, image: Tensor, random_start: bool
    ) -> tuple[Tensor, Tensor]:
        """Perturbed images (N, C, H, W) and which of them (N,) break theirs; ``target`` None: untargeted."""
        self._label, self._target, self._image, self._begun = label, target, image, False
        self._rows = Leaving(self._forward, x, label, self._inside)
        self.target_class = 1  # upstream ranks the classes itself; ``target`` replaces its choice
        with suppress(AllBroken), lent():
            self.attack_single_run(x, label, use_rand_start=random_start, is_targeted=target is not None)
        return self._rows.found, self._rows.broken

    def _predict_fn(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), self._classes)  # only ranked, see target_class

    def _get_predicted_label(self, x: Tensor) -> Tensor:
        if not self._begun:  # upstream asks about the clean images, which are known to be classified correctly
            self._begun = True
            return self._label
        rows, asked = self._rows, self._rows.open
        logits = self._forward(x[asked])
        rows.close(logits, x[asked])
        if len(rows.open) < len(asked):
            gone = self._image[asked[~torch.isin(asked, rows.open)]]
            rows.open = rows.open[~torch.isin(self._image[rows.open], gone)]
        return self._label.index_copy(0, asked, logits.argmax(1))

    def get_diff_logits_grads_batch_targeted(
        self, imgs: Tensor, la: Tensor, la_target: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows = self._rows.open
        if not len(rows):
            raise AllBroken
        assert self._target is not None
        x = imgs[rows].requires_grad_()
        with torch.enable_grad():
            logits = self._forward(x)
            gap = logits.gather(1, self._target[rows, None]) - logits.gather(1, la[rows, None])
            (grad,) = torch.autograd.grad(gap.sum(), x)
        return self._spread(imgs, rows, gap.detach(), grad[:, None])

    def get_diff_logits_grads_batch(self, imgs: Tensor, la: Tensor) -> tuple[Tensor, Tensor]:
        rows = self._rows.open
        if not len(rows):
            raise AllBroken
        x = imgs[rows].requires_grad_()
        with torch.enable_grad():
            logits = self._forward(x)
            grads = [torch.autograd.grad(each.sum(), x, retain_graph=True)[0] for each in logits.unbind(1)]
        grad, own = torch.stack(grads, 1), la[rows]
        every = torch.arange(len(rows), device=x.device)
        gap = logits.detach() - logits.detach().gather(1, own[:, None])
        gap[every, own] = 1e10  # upstream's way to leave the own class out
        return self._spread(imgs, rows, gap, grad - grad[every, own][:, None])

    @staticmethod
    def _spread(imgs: Tensor, rows: Tensor, gap: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Rows that left get ones, which upstream's projection can work on."""
        gaps = gap.new_ones(len(imgs), gap.shape[1]).index_copy(0, rows, gap)
        grads = grad.new_ones(len(imgs), *grad.shape[1:]).index_copy(0, rows, grad)
        return gaps, grads
