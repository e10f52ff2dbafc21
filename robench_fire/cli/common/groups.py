"""Options that several commands share. A command takes a group as one value; its user sees every option of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robench_fire.cli.common import options as o
from robench_fire.cli.common import reading
from robench_fire.cli.common.table_options import TableOptions
from robench_fire.data.own.named import own_images
from robench_fire.data.own.sources import is_own
from robench_fire.devices import torchrun
from robench_fire.errors import UsageError
from robench_fire.runs.evaluations import ROWS, TABLED

if TYPE_CHECKING:
    from robench_fire.evaluation.evaluator import Evaluations
    from robench_fire.launching.ray_cluster import Cluster
    from robench_fire.launching.training_stage import Workplace
    from robench_fire.runs.compose import Request
    from robench_fire.runs.model_source import ModelSource


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """What is trained: the recipe and the user's changes to it."""

    profile: o.Profile = o.ProfileName.matched
    norm: o.NormOption = o.Norm.Linf
    arch: o.Arch = ""
    epochs: o.Epochs = ""
    batch_size: o.BatchSize = ""
    lr: o.Lr = ""
    precision: o.Precision = ""
    attack_precision: o.AttackPrecision = ""
    eps: o.Eps = ""
    set_: o.Set = None
    extra_data: o.ExtraData = None
    hide_labels: o.HideLabels = False
    start: o.Start = ""
    teacher: o.Teacher = ""
    resize: o.Resize = None
    channels: o.Channels = None

    def request(self, defense: str, dataset: str, data_dir: Path | None = None) -> Request:
        """These options for a defense on a data set, whose images are prepared if they are the user's own.

        Raises:
            RecipeError, UsageError: for a text that cannot be read.
            DataError: for images that cannot be trained on.
        """
        return self.requests([defense], dataset, data_dir)[0]

    def requests(self, defenses: Sequence[str], dataset: str, data_dir: Path | None = None) -> list[Request]:
        """The same for several defenses."""
        from robench_fire.runs.compose import Request

        if is_own(dataset):  # which may take minutes to read: what can be wrong besides is looked at before
            from robench_fire.data.own.dataset import radius
            from robench_fire.problem import registry

            radius(self.eps, self.norm.value)
            for each in defenses:
                registry.load("defenses", each)
        from robench_fire.launching.progress_display import listening

        own = own_images(dataset, data_dir, listening, self.resize, self.channels)
        shared = Request(
            defense="",
            dataset=own.name if own else dataset,
            data=own,
            norm=self.norm.value,
            profile=self.profile.value,
            eps=self.eps,
            arch=self.arch,
            epochs=reading.epochs(self.epochs),
            settings=reading.settings(self.batch_size, self.lr, self.precision, self.attack_precision, self.set_),
            extra_data=self.extra_data,
            hide_labels=self.hide_labels,
            start=self.start,
            teacher=self.teacher,
        )
        return [replace(shared, defense=each) for each in defenses]


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How a trained seed is attacked."""

    attack: o.Attack = "pgd20,aa"
    examples: o.Examples = None
    eval_seed: o.EvalSeed = 0
    eval_batch: o.EvalBatch = 500
    no_eval: o.NoEval = False

    def read(self) -> Evaluations:
        """These options.

        Raises:
            UsageError: for an unknown attack.
        """
        attacks = () if self.no_eval else reading.attacks(self.attack, TABLED)
        if attacks and not set(attacks) & set(ROWS):
            raise UsageError(f"--attack {self.attack}: add {' or '.join(ROWS)}, without which there is no row")
        from robench_fire.evaluation.evaluator import Evaluations

        return Evaluations(attacks=attacks, examples=self.examples, seed=self.eval_seed, batch_size=self.eval_batch)


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What a checkpoint file does not say of itself."""

    dataset: Annotated[str, typer.Option(help="Its data set, or images of your own, like ./FOLDER.")] = ""
    resize: o.Resize = None
    channels: o.Channels = None
    arch: Annotated[
        str, typer.Option(help="Its architecture, see `robench ls archs`, or FILE.py:NAME; or say ARCH:FILE.")
    ] = ""
    normalise: Annotated[
        str, typer.Option(help="Normalisation outside it: none, dataset, image or MEAN:STD. (default: the file's own)")
    ] = ""
    key: Annotated[
        str, typer.Option("--checkpoint-key", "--key", help="Which of several weights in it, by their key.")
    ] = ""

    def named(
        self, source: str, norm: str, zoo_folder: Path, data_dir: Path | None = None, eps: tuple[str, ...] = ()
    ) -> list[ModelSource]:
        """What ``source`` names, see model_source.model_sources; of images of the user's own, at the first ``eps``.

        Raises:
            RecipeError: for such images without a radius.
        """
        from robench_fire.data.own.dataset import radius
        from robench_fire.launching.progress_display import listening
        from robench_fire.runs.model_source import model_sources

        claimed = radius((*eps, "")[0], norm or "Linf") if is_own(self.dataset) else None
        own = own_images(self.dataset, data_dir, listening, self.resize, self.channels)
        images = (own, claimed) if own and claimed is not None else None
        return model_sources(source, self.dataset, self.arch, norm, zoo_folder, self.normalise, self.key, images)


@dataclass(frozen=True, kw_only=True)
class PaperOptions:
    """What RobustBench asks about a checkpoint that was not trained here, and its threat model."""

    norm: Annotated[str, typer.Option(help="Linf or L2. (default: the data set's first)")] = ""
    paper: Annotated[str, typer.Option(help="A defense, or a JSON file: name, authors, venue, link.")] = ""
    additional_data: Annotated[str, typer.Option(metavar="yes|no", help="More than the training set was used.")] = ""

    def under(self, found: list[ModelSource]) -> ModelSource:
        """The one checkpoint in ``found``, claimed at its data set's usual radius of the norm.

        Raises:
            UsageError: for another norm, or an answer that is neither yes nor no.
        """
        (source,) = found
        usual = {each.norm: each for each in reversed(list(source.parts().recipes))}
        if self.norm and self.norm not in usual:
            raise UsageError(f"--norm {self.norm}: {source.dataset} has {', '.join(usual)}")
        if self.additional_data not in ("", "yes", "no"):
            raise UsageError(f"--additional-data {self.additional_data}: yes or no")
        return replace(source, claim=usual[self.norm]) if self.norm else source


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Where the runs are made, and how many at a time."""

    device: o.Device = "auto"
    compiling: o.Compile = None
    jobs: o.Jobs = 0
    together: o.Together = False
    launcher: o.Launcher = o.LauncherName.local
    address: o.Address = ""
    slots: o.Slots = None
    output: o.Output = Path("runs")
    data_dir: o.Data = None
    log: o.Log = ""
    save_every: o.SaveEvery = o.USUALLY
    time_limit: o.TimeLimit = ""
    streaming: o.Stream = None
    deterministic: o.Deterministic = None

    def check(self) -> None:
        """Refuse options that do not go with each other, or with torchrun; from now on the time limit runs.

        Raises:
            UsageError: naming the option to leave out.
        """
        ray = reading.launched(self.launcher, self.address, self.slots, self.together)
        torchrun.refuse_options(jobs=self.jobs if self.jobs > 1 else 0, together=self.together)
        torchrun.refuse_options(launcher="ray" if ray else "")
        if ray and self.streaming is not None:
            raise UsageError(
                "--stream and --no-stream: with --launcher ray each machine sees what fits; leave them out"
            )
        if self.log:
            from robench_fire.launching import trackers

            trackers.check(reading.listed([self.log]))
            if ray:
                raise UsageError("--log is written where a run trains, and --launcher ray brings back runs alone")
        if reading.duration("--save-every", self.save_every) != reading.duration("", o.USUALLY) and ray:
            raise UsageError(f"--save-every {self.save_every}: with --launcher ray it is {o.USUALLY}; leave it out")
        reading.limited(self.time_limit)

    def here(self) -> Workplace:
        """This machine; on a cluster, which has devices of its own, no more than where the results go."""
        from robench_fire.launching.training_stage import workplace

        device = torchrun.device("cpu" if self.launcher is o.LauncherName.ray else self.device)
        every = reading.duration("--save-every", self.save_every)
        return workplace(
            self.output, self.data_dir, device, self.compiling, reading.listed([self.log]), every, self.streaming,
            self.deterministic,
        )  # fmt: skip

    def there(self) -> Cluster | None:
        """The cluster, if one is asked for."""
        from robench_fire.launching.ray_cluster import Cluster

        ray = reading.launched(self.launcher, self.address, self.slots, self.together)
        if ray is None:
            return None
        (address, slots), data = ray, self.data_dir and self.data_dir.absolute()
        return Cluster(
            address=address, slots=slots, device=self.device, compiling=self.compiling,
            deterministic=self.deterministic, data=data,
        )  # fmt: skip


GROUPS = {
    TableOptions: "What is shown",
    FileOptions: "A checkpoint file",
    PaperOptions: "A checkpoint that was trained elsewhere",
    RecipeOptions: "Recipe",
    EvaluationOptions: "Evaluation",
    PlaceOptions: "Where it runs",
}
"""Each group's heading in a command's help."""
