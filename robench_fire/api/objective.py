"""A defense's attack and loss for a training loop of the user's own: ``robench_fire.Objective``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import one_hot
from torch.nn.parallel import DistributedDataParallel

from robench_fire import datasets
from robench_fire.api.speaking import pairs
from robench_fire.devices.precision import SHORT, Arithmetic, Format
from robench_fire.devices.process_group import ALONE
from robench_fire.devices.random_streams import generator as stream
from robench_fire.errors import DataError, RecipeError, UsageError
from robench_fire.problem.dataset import Split
from robench_fire.problem.defense import Defense, Ramp, Terms, Views
from robench_fire.problem.pgd import Replay
from robench_fire.problem.plan import Plan, Profile
from robench_fire.problem.targets import HardLabels, Memory, recalled, smoothed
from robench_fire.problem.threat import Linf, Threat
from robench_fire.quantity import Quantity
from robench_fire.runs.compose import Request, plan_of
from robench_fire.training.attack import attacked
from robench_fire.training.setup import Passes, Problem, Setup, frozen, gains_of, per_example, refuses_processes
from robench_fire.training.step import passed
from robench_fire.training.weights import Moves, move_back, moved

_NO_IMAGES = Split(torch.empty(0), torch.empty(0))  # the user's loop brings them


class Objective:
    """What a defense makes of a batch: perturbed images, then its losses, for any model and any loop.

    ``terms = objective(model, x, y)`` is followed by ``sum(each.mean() for each in terms.values()).backward()``. It
    computes in the autocast of the caller, leaves the model's mode and flags as they were, and waits for nothing. Works
    on plain, compiled and DistributedDataParallel models, and inside Lightning's and Accelerate's steps.
    ``plan`` holds what is computed, ``perturbed`` the images (N, C, H, W) of the last batch.

    Args:
        defense: a name of ``list_defenses``, the path of a .py file, or a Plan, which says all but the last four.
        threat: ``rb.Linf("8/255")``, ``rb.L2(0.5)``, or the radius of Linf as text or number.
        dataset: whose recipe gives the attack and the passes, see ``list_datasets``; "": CIFAR-10.
        profile: matched, short, modern, fastat or official.
        steps: of the attack; None: the recipe's.
        set: values of `robench show` by their path, {"defense.lam": 6}.
        labels: (N_train,) of all training images, for targets that are kept per image (Self-Adaptive).
        num_classes: of the model; None: it is asked.
        teacher: images to logits, where the loss reads a teacher.
        seed: of the attack's random starts.

    Raises:
        UsageError: for an unknown defense, or something that this defense needs and was not given.
        RecipeError: for a setting that is none, or an attack that cannot reach the radius.
    """

    plan: Plan
    perturbed: Tensor | None  # (N, C, H, W) of the last batch
    memory: Memory | None  # of targets that are kept per image

    def __init__(
        self,
        defense: str | Plan,
        *,
        threat: Threat | str | float = "8/255",
        dataset: str = "",
        profile: Profile = "matched",
        steps: int | None = None,
        set: Mapping[str, object] | None = None,
        labels: Tensor | None = None,
        num_classes: int | None = None,
        teacher: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        changes = ({} if steps is None else {"recipe.attack.steps": steps}) | dict(set or {})
        self.plan = defense if isinstance(defense, Plan) else _plan(defense, threat, dataset, profile, changes)
        self.perturbed = self.memory = None
        self._classes, self._teacher, self._seed = num_classes, teacher, seed
        self._noise: Generator | None = None
        self._begun: dict[str, Any] = {}
        self._moves: Moves = []
        self._turn = 0
        self._made: tuple[nn.Module, Passes, Any] | None = None
        self._seen_data = False
        own = self.plan.defense
        if isinstance(self.plan.recipe.attack, Replay):
            why = "trains on each batch several times and perturbs it by its own updates"
            raise UsageError(f"{self.plan.name} {why}: use robench train")
        if own.teacher_reads and teacher is None:
            raise UsageError(f"the loss of {self.plan.name} reads a teacher's logits: give teacher=, images to logits")
        if not isinstance(own.targets, HardLabels):
            if labels is None:
                raise UsageError(
                    f"{self.plan.name} keeps targets per image: give labels=, those of all training images"
                )
            self._classes = num_classes or int(labels.max()) + 1
            self.memory = own.targets.init(labels, self._classes)

    def __repr__(self) -> str:
        """The method, its threat model and its attack."""
        plan, attack = self.plan, self.plan.recipe.attack
        how = f"{attack.steps} steps of {attack.step}" if attack else "no attack"
        return f"Objective({plan.name}, {plan.threat.norm} {plan.threat.eps}, {how})"

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        index: Tensor | None = None,
        target: Tensor | None = None,
        progress: float | None = None,
        generator: Generator | None = None,
    ) -> Terms:
        """The losses of a batch by name, (N,) each with their gradients; () those of the batch as a whole.

        ``x`` (N, C, H, W): floats in [0, 1], augmented as the user likes; normalisation belongs into the model. ``y``
        (N,): class numbers. ``index`` (N,): which training images these are, for targets that are kept per image.
        ``target`` (N, K): soft labels instead of ``y``'s, a row's sum being the example's weight. ``progress``:
        epoch / epochs, for what changes during training. ``generator``: of the attack's starts, on ``x``'s device.

        Raises:
            DataError: for images or labels that are not these; their range is looked at in the first batch only.
            UsageError: for an argument that this defense needs, or perturbed weights that were not put back.
            RecipeError: for a defense that several processes cannot train.
        """
        self._check(x, y, index, target, progress)
        share = 1.0 if progress is None else progress
        net = model.module if isinstance(model, DistributedDataParallel) else model
        setup = self._setup(model, net, x)
        own, seen = self.plan.defense, self._known(self._target(net, x, y, index, target), y, index, share)
        self._turn += 1
        with self._random(x.device):
            images, seen = attacked(net, setup, x, seen, [generator or self._own_noise(x.device)])
        self.perturbed = images["adv"]
        if target is None:  # a user's own soft labels are as they are
            seen = seen._replace(target=smoothed(seen.target, self.plan.recipe.label_smoothing))
        with _synchronised_once(model):
            if own.weights is not None and own.weights.active(share):
                self._uphill(net, partial(passed, setup, images, seen))
            seen = passed(setup, images, seen)
        return _terms(own, seen if index is None else self._remembered(seen, index, share))

    def restore_weights(self) -> None:
        """Undo a perturbation of the weights (AWP), after the optimiser's step; nothing for other defenses."""
        move_back(self._moves)
        self._moves = []

    def state_dict(self) -> dict[str, Any]:
        """What outlives a batch: the targets' memory, the attack's random stream, how many batches there were."""
        noise = self._noise.get_state() if self._noise else self._begun.get("noise")
        return {"memory": self.memory, "noise": noise, "turn": self._turn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.memory, self._noise, self._begun, self._moves = state["memory"], None, dict(state), []
        self._turn = state.get("turn", 0)

    def _own_noise(self, device: torch.device) -> Generator:
        if self._noise is None or self._noise.device.type != device.type:
            self._noise = stream(device, self._seed, "attack")
            if (kept := self._begun.pop("noise", None)) is not None:
                self._noise.set_state(kept.cpu())
        return self._noise

    def _setup(self, model: nn.Module, net: nn.Module, x: Tensor) -> Setup:
        plan = self.plan
        if net is not model and (why := refuses_processes(plan.defense, plan.recipe)):
            raise RecipeError(f"several processes cannot train {plan.name}: {why}; use one device")
        if net is not model and (self.memory is not None or plan.defense.weights is not None):
            what = "targets of all images" if self.memory is not None else "weights perturbed alike"
            raise RecipeError(f"{plan.name} needs {what} in every process: use one device, or robench train")
        if self._made is None or self._made[0] is not model:
            self._made = model, Passes(model, plan.recipe, plan.defense), gains_of(net, plan.defense)
        _, passes, gains = self._made
        problem = Problem(plan.defense, plan.threat, plan.recipe, _NO_IMAGES, _NO_IMAGES, self._classes or 0)
        return Setup(
            problem, _NO_IMAGES, x.device, self._arithmetic(x.device), lambda images: images, ALONE, passes, gains,
            self._teacher,
        )  # fmt: skip

    def _arithmetic(self, device: torch.device) -> Arithmetic:
        """That of the caller's autocast; beside the image, a divergence is smaller than 16 bits' rounding of logits."""
        names: dict[torch.dtype, Format] = {SHORT["bf16"]: "bf16", SHORT["fp16"]: "fp16"}
        on = torch.is_autocast_enabled(device.type)
        own: Format = names.get(torch.get_autocast_dtype(device.type), "fp32") if on else "fp32"
        attack = self.plan.recipe.attack
        return Arithmetic(own, own, "fp32" if attack is not None and attack.beside else own)

    def _random(self, device: torch.device) -> Any:
        """An attack in train mode draws from torch's own generators, for dropout: they are put back."""
        if self.plan.recipe.attack_mode != "train":
            return nullcontext()
        return torch.random.fork_rng([device] if device.type == "cuda" else [])

    def _target(self, net: nn.Module, x: Tensor, y: Tensor, index: Tensor | None, target: Tensor | None) -> Tensor:
        if target is not None:
            return target
        if self.memory is not None and index is not None:
            self.memory = {name: value.to(x.device) for name, value in self.memory.items()}
            return self.plan.defense.targets.read(self.memory, index)
        if self._classes is None:
            with frozen(net), torch.no_grad():
                self._classes = net(x[:1]).shape[1]
        return one_hot(y, self._classes).float()

    def _known(self, target: Tensor, y: Tensor, index: Tensor | None, progress: float) -> Views:
        """What a loss reads beside the model's outputs."""
        share, turn = (torch.full((), value, device=y.device) for value in (progress, self._turn))
        known = {} if self.memory is None or index is None else recalled(self.plan.defense.targets, self.memory, index)
        return Views(None, target, target, y, share, recalled=known, turn=turn)

    def _remembered(self, seen: Views, index: Tensor, progress: float) -> Views:
        """With the targets after these logits were seen."""
        if self.memory is None:
            return seen
        targets, logits = self.plan.defense.targets, seen.adv if seen.clean is None else seen.clean
        self.memory = targets.update(self.memory, index, logits.detach(), progress)
        target = smoothed(targets.read(self.memory, index), self.plan.recipe.label_smoothing)
        return seen._replace(target=target, recalled=recalled(targets, self.memory, index))

    def _uphill(self, net: nn.Module, again: Callable[[], Views]) -> None:
        """Perturb the weights by the gradient of the loss there."""
        chosen = self.plan.defense.weights
        assert chosen is not None
        buffers, weights = [each.clone() for each in net.buffers()], [w for w in net.parameters() if w.requires_grad]
        loss = torch.stack([each.mean() for each in _terms(self.plan.defense, again()).values()]).sum()
        found = iter(torch.autograd.grad(loss, weights, allow_unused=True))
        gradients = [next(found) if each.requires_grad else None for each in net.parameters()]
        self._moves = moved(net, chosen, gradients, buffers)

    def _check(
        self, x: Tensor, y: Tensor, index: Tensor | None, target: Tensor | None, progress: float | None
    ) -> None:  # fmt: skip
        own, name = self.plan.defense, self.plan.name
        if self._moves:
            raise UsageError(f"{name} perturbs weights: call restore_weights() after the optimiser's step")
        if self.memory is not None and index is None:
            raise UsageError(f"{name} keeps targets per image: give index=, (N,) which training images these are")
        if self.memory is not None and target is not None:
            raise UsageError(f"{name} keeps targets of its own per image: leave out target=")
        if progress is None and _changes(own):
            raise UsageError(f"{name} changes during training: give progress=, epoch / epochs")
        if not x.is_floating_point() or x.dim() != 4:
            raise DataError(f"images are {x.dtype} {tuple(x.shape)}; expected floats (N, C, H, W) in [0, 1]")
        if y.dtype != torch.int64 or y.shape != x.shape[:1]:
            raise DataError(f"labels are {y.dtype} {tuple(y.shape)}; expected {len(x)} class numbers, int64 (N,)")
        if not self._seen_data:  # once: looking at values makes a GPU wait
            self._seen_data = True
            low, high = x.min().item(), x.max().item()
            if not (low >= 0 and high <= 1):
                raise DataError(f"images run from {low:.4g} to {high:.4g}, not in [0, 1]; normalise in the model")


def _plan(
    defense: str, threat: Threat | str | float, dataset: str, profile: Profile, changes: Mapping[str, object]
) -> Plan:
    chosen = threat if not isinstance(threat, (str, float, int)) else Linf(eps=Quantity(threat))
    settings = tuple(("settings", path, text) for path, text in pairs(changes))
    request = Request(
        defense=defense, dataset=dataset or datasets.SHARED, norm=chosen.norm, profile=profile, eps=str(chosen.eps),
        settings=settings,
    )  # fmt: skip
    return plan_of(request)


def _terms(defense: Defense, seen: Views) -> Terms:
    terms = {name: per_example(value, seen.label, f"outer's {name!r}") for name, value in defense.outer(seen).items()}
    return terms | defense.over_batch(seen)


def _changes(defense: Defense) -> bool:
    """Whether a defense is another one early in the training than late in it."""
    ramps = any(isinstance(getattr(defense, each.name), Ramp) for each in fields(defense))
    return ramps or defense.weights is not None or not isinstance(defense.targets, HardLabels)


@contextmanager
def _synchronised_once(model: nn.Module) -> Iterator[None]:
    """Let DistributedDataParallel send buffers around before the first pass of an update only.

    It writes them in place, and a second time would change what the first pass's backward reads.
    """
    if not isinstance(model, DistributedDataParallel):
        yield
        return
    kept = model.broadcast_buffers
    hook = model.register_forward_hook(lambda *_: setattr(model, "broadcast_buffers", False))
    try:
        yield
    finally:
        hook.remove()
        model.broadcast_buffers = kept
