"""From what a user asks for to a Plan, and where each of its values came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from robench_fire.data.extra_images import of_file
from robench_fire.data.own.dataset import known, radius
from robench_fire.errors import GivenWeightsError, RecipeError, UsageError, located
from robench_fire.models import architectures
from robench_fire.models.own import network
from robench_fire.problem import registry
from robench_fire.problem.dataset import Dataset
from robench_fire.problem.defense import Paper
from robench_fire.problem.defense_check import check
from robench_fire.problem.own_data import OwnData
from robench_fire.problem.plan import Plan, Profile, override
from robench_fire.problem.recipe import Extra
from robench_fire.problem.settings import leaves, to_plain
from robench_fire.problem.threat import THREATS, Threat, mistaken
from robench_fire.quantity import Quantity
from robench_fire.runs import profiles
from robench_fire.runs.given_weights import WeightFiles, beginning, given
from robench_fire.runs.given_weights import teacher as taught_by

OVER = "--over"  # the flag of a setting that a sweep varies


@dataclass(frozen=True, kw_only=True)
class Request:
    """A defense on a data set, as asked for; plain values, so that a worker process can compose it anew."""

    defense: str
    dataset: str
    norm: str = "Linf"
    profile: Profile = "matched"
    eps: str = ""
    arch: str = ""
    epochs: int | None = None
    settings: tuple[tuple[str, str, str], ...] = ()  # (flag, path, text), applied in order
    extra_data: Path | None = None
    hide_labels: bool = False
    start: str = ""  # a file or a run whose weights training begins from
    teacher: str = ""  # a file or a run, for a loss that reads a teacher's logits
    code: str = ""  # of a file of the user's own, as it was when the command began
    data: OwnData | None = None  # images of the user's own, prepared; ``dataset`` is what they are called

    @property
    def given_weights(self) -> list[tuple[str, str]]:
        """(option, file or folder) of the weights that are given."""
        return [(flag, text) for flag, text in (("--start", self.start), ("--teacher", self.teacher)) if text]

    @property
    def swept(self) -> str:
        """What tells this point of a sweep from the others, "lam=4 epochs=20"; "" outside a sweep."""
        return " ".join(f"{path.rpartition('.')[2]}={text}" for flag, path, text in self.settings if flag == OVER)


class Composed(NamedTuple):
    """A resolved plan with its plug-ins; ``layers`` are (source, plan so far), the last one being the plan.

    ``given``: the weights that the user gives. ``begin`` puts those that a seed starts from into its model, and
    ``teacher`` loads a seed's teacher (any, for None), where the plan has them.
    """

    plan: Plan
    paper: Paper
    dataset: Dataset
    layers: tuple[tuple[str, Plan], ...]
    given: tuple[WeightFiles, ...] = ()
    begin: Callable[[nn.Module, int], None] | None = None
    teacher: Callable[[int | None], nn.Module] | None = None

    def build(self) -> nn.Module:
        """A freshly initialised model of the plan's architecture, behind its normalisation layer."""
        dataset, recipe = self.dataset, self.plan.recipe
        return architectures.build(
            recipe.arch, dataset.shape, dataset.num_classes, recipe.normalise, dataset.mean, dataset.std
        )

    def sources(self) -> list[tuple[str, Any, str]]:
        """(path, value, source) of every setting: the last layer that changed it is where it comes from."""
        found: dict[str, tuple[Any, str]] = {}
        for source, plan in self.layers:
            values = dict(leaves(to_plain(plan)))
            for path in set(found) - set(values):
                del found[path]
            for path, value in values.items():
                if path not in found or found[path][0] != value:
                    found[path] = (value, source)
        own = {"defense.": f"{self.paper.method} ({self.paper.key})"}
        if self.plan.data is None:
            own |= dict.fromkeys(("threat.", "claim.", "recipe.attack."), "the data set's threat model (docs/data.md)")
        else:
            own |= dict.fromkeys(("threat.", "claim."), "--eps")
        backend = ("recipe.precision.", "recipe.attack_precision.", "recipe.ghost_batch.")
        own |= dict.fromkeys(backend, "robench_fire (docs/performance.md)")
        listed = []
        for path, _ in leaves(to_plain(self.plan)):
            value, source = found[path]
            if "." in path:
                first = source == self.layers[0][0]
                named = next((text for prefix, text in own.items() if f"{path}.".startswith(prefix)), source)
                listed.append((path, value, named if first else source))
        return listed


def compose(request: Request) -> Composed:
    """Resolve a request: data set, profile, epochs, extra data, network, the defense's departures, radius, settings.

    Architecture and epochs come before the departures, which may depend on them: with extra data an epoch covers half
    of the labelled images, so ``epochs`` of the shared schedule become twice as many.

    Raises:
        UsageError: for an unknown defense, data set or norm.
        RecipeError: for an override or a combination that cannot be run, or given weights that do not fit;
            GivenWeightsError where some are needed and not given.
        DataError: if extra data or given weights cannot be read.
    """
    try:
        return _compose(request)
    except ValueError as fault:
        if located(fault):  # of the user's own file: said with its place
            raise
        raise RecipeError(str(fault)) from None


def plan_of(request: Request) -> Plan:
    """A request's plan alone, for a model and images that the user brings.

    Raises:
        UsageError, RecipeError: as ``compose``; weights that are to be given are asked for by nobody here.
    """
    try:
        composed, _ = resolved(request)
        plan = composed.plan
        plan.check()
        check(plan.defense, plan.name, composed.dataset.num_classes, attack=plan.recipe.attack)
    except ValueError as fault:
        if located(fault):
            raise
        raise RecipeError(str(fault)) from None
    return plan


def _compose(request: Request) -> Composed:
    found, own = resolved(request)
    plan, dataset = found.plan, found.dataset
    _meant(request, plan, dataset)
    plan.check()  # here and below: a mistake is found before anything is spent
    check(plan.defense, plan.name, dataset.num_classes, dataset.shape, attack=plan.recipe.attack)
    architectures.check(plan.recipe.arch, dataset.shape, dataset.num_classes)
    if plan.recipe.extra and plan.recipe.extra.source == "file" and request.extra_data is None:
        raise RecipeError("recipe.extra.source=file needs --extra-data FILE; docs/data.md describes the layouts")
    _unchanged(plan, own)
    begin = beginning("--start", own["--start"], plan.recipe, dataset) if "--start" in own else None
    teacher = _teacher(plan, dataset, own.get("--teacher"))
    return found._replace(given=tuple(own.values()), begin=begin, teacher=teacher)


def resolved(request: Request) -> tuple[Composed, dict[str, WeightFiles]]:
    """The plan as asked for, which nothing has been held against yet, and the weights that are given, by option."""
    request = with_network(request)
    defense = registry.load("defenses", request.defense)
    if request.code and defense.code != request.code:
        raise RecipeError(f"{request.defense} has changed since this command began; run it again to train the new one")
    own_eps = radius(request.eps, request.norm) if request.data else None
    dataset = known(request.dataset, request.data, own_eps)
    called = request.data.name if request.data else registry.canonical(request.dataset)
    threat = _threat(called, dataset, request.norm)
    plan = Plan(
        name=defense.name,
        dataset=called,
        profile=request.profile,
        defense=defense.module.DEFENSE,
        code=defense.code,
        threat=threat,
        claim=threat,
        recipe=dataset.recipes[threat],
        data=request.data,
    )
    layers = [(dataset.source, plan), *profiles.begun(plan, dataset)]
    plan = layers[-1][1]
    if request.epochs is not None:
        layers.append(("--epochs", plan := plan.with_recipe(epochs=request.epochs)))
    layers += _extended(plan, dataset, request)
    own = {flag: given(flag, text) for flag, text in request.given_weights}
    layers += _given(layers[-1][1], own)
    plan = layers[-1][1]
    if request.arch:
        layers.append(("--arch", plan.with_recipe(arch=request.arch)))
    layers += _departures(defense, layers[-1][1], request)
    layers += _overridden(layers[-1][1], request)
    return Composed(layers[-1][1], defense.module.PAPER, dataset, tuple(layers)), own


def with_network(request: Request) -> Request:
    """The request with a network of the user's own as plans name it: which code it is, and its arguments."""
    arch, settings = network.declared(request.arch, request.settings)
    named = [
        (flag, path, network.declared(text)[0] if path == "recipe.arch" else text) for flag, path, text in settings
    ]
    return replace(request, arch=arch, settings=tuple(named))


def pinned(request: Request, plan: Plan) -> Request:
    """The request for other processes, which refuse code of the user's own that is no longer that of the plan."""
    return replace(request, code=plan.code, arch=network.pinned(request.arch, plan.recipe.arch))


def _departures(defense: registry.Found, plan: Plan, request: Request) -> list[tuple[str, Plan]]:
    """The layers that a method's own file asks for."""
    layers = []
    for profile in ("matched", "official") if request.profile == "official" else ("matched",):
        depart = getattr(defense.module, profile, None)
        hidden = plan.recipe.extra is not None and plan.recipe.extra.source == "hidden"
        if profile == "official" and (depart is None or request.norm != "Linf" or hidden):
            raise plan.unreleased()
        if depart is not None:
            reason = (depart.__doc__ or "").split("\n")[0]
            plan = depart(plan)
            if not isinstance(plan, Plan):
                raise RecipeError(f"{defense.origin}, {profile}: returns a {type(plan).__name__}; return the plan")
            layers.append((f"{defense.name}, {profile}: {reason}", plan))
    return layers


def _extended(plan: Plan, dataset: Dataset, request: Request) -> list[tuple[str, Plan]]:
    """The layer with further images, if the user asks for some; those of a file bring a network."""
    if request.hide_labels and request.extra_data is not None:
        raise UsageError("--extra-data and --hide-labels: choose one source of pseudo-labelled images")
    if request.extra_data is not None:
        plan = plan.with_extra(of_file(request.extra_data, dataset.shape))
        usual = plan.recipe.arch == dataset.recipes[plan.threat].arch  # else the profile's, which stays
        return [("--extra-data", plan.with_recipe(arch=dataset.extra_arch) if usual else plan)]
    return [("--hide-labels", plan.with_extra(Extra()))] if request.hide_labels else []


def _given(plan: Plan, own: Mapping[str, WeightFiles]) -> list[tuple[str, Plan]]:
    """The layers with the weights that a user gives, by option."""
    layers = []
    for flag, start in own.items():
        layers.append((flag, plan := plan.with_recipe(**{flag.removeprefix("--"): start.identity})))
    return layers


def _unchanged(plan: Plan, own: Mapping[str, WeightFiles]) -> None:
    """A plan that names other weights than those that are used would lie."""
    for name, said in (("start", plan.recipe.start), ("teacher", plan.recipe.teacher)):
        used = own[f"--{name}"].identity if f"--{name}" in own else None
        if (said and (said.of, said.seen)) != (used and (used.of, used.seen)):
            raise RecipeError(f"recipe.{name} is what --{name} FILE|RUN names, and is not set in another way")


def _meant(request: Request, plan: Plan, dataset: Dataset) -> None:
    """Ask back for a radius that is usual in another norm: 8/255 as a length would be next to no attack."""
    if (text := request.eps) and (known := mistaken(THREATS[request.norm](text), dataset.recipes)):
        step = f" --set recipe.attack.step={plan.recipe.attack.step}" if plan.recipe.attack else ""
        meant = f"--set threat.eps={text} --set claim.eps={text}{step}"
        raise RecipeError(f"--eps {text}: on {plan.dataset} it is {known}; if it is meant: {meant}")


def _teacher(plan: Plan, dataset: Dataset, own: WeightFiles | None) -> Callable[[int | None], nn.Module] | None:
    reads = bool(plan.defense.teacher_reads)
    if own is not None and not reads:
        raise RecipeError(f"--teacher: the loss of {plan.name} reads no teacher; leave it out")
    if own is None and reads:
        which = f", {plan.defense.teacher_is}" * bool(plan.defense.teacher_is)
        raise GivenWeightsError(f"{plan.name} learns from a teacher: say --teacher FILE|RUN{which}")
    return None if own is None else taught_by("--teacher", own, plan, dataset)


def _threat(name: str, dataset: Dataset, norm: str) -> Threat:
    for threat in dataset.recipes:
        if threat.norm == norm:
            return threat
    raise UsageError(f"{name} has no {norm} recipe; choose from {', '.join(t.norm for t in dataset.recipes)}")


def _overridden(plan: Plan, request: Request) -> list[tuple[str, Plan]]:
    """The user's own layers, whose word is last. A radius of the user's is trained at and claimed; steps follow it."""
    layers = []
    if request.arch:
        layers.append(("--arch", plan := plan.with_recipe(arch=request.arch)))
    if request.epochs is not None and request.profile == "official":
        layers.append(("--epochs", plan := plan.with_recipe(epochs=request.epochs)))
    if request.eps:
        eps = Quantity(request.eps)
        if plan.recipe.attack and eps > 0 and eps != plan.threat.eps:
            plan = plan.with_steps_for(eps)
        threat, claim = replace(plan.threat, eps=eps), replace(plan.claim, eps=eps)  # type: ignore[type-var]
        layers.append(("--eps", plan := replace(plan, threat=threat, claim=claim)))
    for flag, path, text in request.settings:
        layers.append((flag, plan := override(plan, path, text)))
    return layers
