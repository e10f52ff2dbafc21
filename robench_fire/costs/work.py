"""How often an update goes through the network, forward and backward: what its cost is counted by."""

from __future__ import annotations

from typing import NamedTuple

from robench_fire.problem.defense import Defense
from robench_fire.problem.pgd import Pgd, Replay
from robench_fire.problem.recipe import Recipe, effective_passes


class Work(NamedTuple):
    """Of each image of one batch: forward passes, gradients back to it, and full ones, back to the weights.

    ``through``: full gradients that go back through a gradient to the image. ``taught``: forward passes of the
    teacher's network. ``both``: full gradients that go back to the image as well.
    """

    forwards: int
    to_image: int
    to_weights: int
    through: int = 0
    taught: int = 0
    both: int = 0

    @property
    def forward_equivalents(self) -> int:
        """As forward passes of the batch: an input gradient counts 1 more, a full backward 2 more."""
        return self.forwards + self.to_image + 2 * (self.to_weights + self.through + self.both) + self.taught


def per_update(defense: Defense, recipe: Recipe) -> int:
    """Forward-equivalents of one update, of which replays make several on each batch."""
    return work(defense, recipe).forward_equivalents // recipe.updates


def work(defense: Defense, recipe: Recipe, progress: float = 1.0) -> Work:
    """What the engine does for a batch at ``progress`` = epoch / epochs, in the last epoch if that is not said.

    An attack step is a forward and an input gradient; clean logits are computed once, where an attack reads them.
    Then come the recipe's passes and those of further images, with a full backward for each that enters the loss; a
    pass that is repeated has none. A loss that reads a gradient with respect to images has an input gradient for it,
    and goes back through that. Perturbed weights take all passes twice. Replays make several updates of a batch and
    search nothing: the gradient at the images is a by-product of the full backward.
    """
    attack = Work(0, 0, 0)
    if isinstance(recipe.attack, Pgd):
        steps = recipe.attack.steps * len(defense.attacks)
        attack = Work(int(defense.clean_in_inner) + steps, steps, 0)
    made = [*effective_passes(recipe, defense.clean_in_outer), *(view.name for view in defense.further)]
    slopes = len(defense.gradients_at)
    passes = Work(len(made), slopes, len(set(made)), slopes)
    times = 1 + (defense.weights is not None and defense.weights.active(progress))
    update = Work(*(a + times * b for a, b in zip(attack, passes, strict=True)))
    both = int(isinstance(recipe.attack, Replay) and "adv" not in defense.gradients_at)
    taught, to_weights = len(defense.teacher_reads), update.to_weights - both
    return Work(*(recipe.updates * each for each in update._replace(taught=taught, to_weights=to_weights, both=both)))
