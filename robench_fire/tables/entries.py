"""Entry: one line of a table, whoever trained and whoever measured. Plain values; imports no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robench_fire.boards import checkpoints, worst
from robench_fire.boards.labels import labelled
from robench_fire.boards.model_info import BOARD_KEY, SUFFIXES, find_rows
from robench_fire.boards.rows import Row
from robench_fire.errors import DataError, UsageError
from robench_fire.evaluation.reliability_text import READ, reworded
from robench_fire.models.names import display_name
from robench_fire.quantity import Quantity, same
from robench_fire.runs.folders import SEEDS, find, images_of
from robench_fire.statistics.summary import MeanStd, mean_std
from robench_fire.tables import published_rows

OURS, PUBLISHED, BENCHMARK = "ours", "published", "means of a benchmark"
REEVALUATED, CHECKPOINT = "published weights, our evaluation", "a checkpoint, our evaluation"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a table shows of a method. Accuracies in percent; ``robust`` is AutoAttack's, None where it was not run.

    ``origin``: OURS, PUBLISHED (someone's figures), BENCHMARK (likewise, over seeds), REEVALUATED (RobustBench's
    weights, evaluated here) or CHECKPOINT (a file, evaluated here). ``key``: as RobustBench names it. ``extra``: see
    rows.extra_of. ``best_known``: robust accuracy under the best attack known. ``unreliable``: AutoAttack's own sign,
    None where it is not known. ``worst``: under all attacks together, where one is a user's own. ``row``: behind an
    entry of ours; ``seed``: of an entry that is one of its seeds. ``place``: where it was found.
    """

    origin: str
    key: str
    method: str
    title: str
    link: str
    authors: str
    venue: str
    architecture: str
    dataset: str
    norm: str
    eps: str
    examples: int = 0  # 0: not said, as of published figures
    evaluation_seed: int = 0
    clean: MeanStd
    robust: MeanStd | None
    pgd20: MeanStd | None = None
    average: MeanStd | None = None
    train_seconds: MeanStd | None = None
    extra: str = ""
    best_known: float | None = None
    worst: MeanStd | None = None
    unreliable: bool | None = None
    notes: tuple[str, ...] = ()
    source: str = ""
    images: str = ""  # which of several of one name, see images_of
    row: Row | None = None
    seed: int | None = None
    place: str = field(default="", compare=False)
    reported: Mapping[str, str] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """What a table sorts by, as RobustBench does: the best known robust accuracy; PGD-20's without AutoAttack."""
        if self.best_known is not None:
            return self.best_known
        known = self.robust or self.pgd20
        return known.mean if known else -1.0

    def alone(self, attack: str) -> MeanStd | None:
        """Robust accuracy under an attack that is run by itself; None where it is not known."""
        known = self.row.facts.get("attacks", {}).get(attack) if self.row else None
        return mean_std([value for _, value in sorted(known.items())]) if known else None

    @property
    def profile(self) -> str:
        return self.row.profile if self.row else ""

    @property
    def count(self) -> int | None:
        """How many seeds, or checkpoints where they are several; None where that is not known."""
        if self.row:
            return len(self.row.per_seed)
        return self.clean.n if self.origin in (CHECKPOINT, BENCHMARK) and self.clean.n > 1 else None

    @property
    def seeds(self) -> str:
        """How many of how many, for entries of ours; or which, of an entry that is a single one of them."""
        if self.row is None:
            return str(self.count or "–")
        if self.seed is not None:
            return f"seed {self.seed}"
        count = len(self.row.per_seed)
        return str(count) if count >= SEEDS else f"{count}/{SEEDS}"


def of_row(row: Row) -> Entry:
    """A row of ours."""
    aa, paper, below = row.attack == "aa", row.paper, worst.over_seeds(row.facts, row.per_seed)
    return Entry(
        origin=OURS, key=paper["key"] + SUFFIXES[row.extra], method=row.name, images=row.images,
        title=paper["title"], link=paper["link"], authors=paper["authors"], venue=paper["venue"],
        architecture=row.architecture, dataset=row.dataset, norm=row.norm, eps=row.eps, examples=row.examples,
        evaluation_seed=row.evaluation_seed, clean=row.over_seeds("clean"),
        robust=row.over_seeds("robust") if aa else None,
        pgd20=mean_std([value for _, value in sorted(row.pgd20.items())]) if row.pgd20 else None,
        worst=below, best_known=below.mean if below else None, average=row.average if aa else None,
        train_seconds=row.over_seeds("train_seconds"), extra=row.extra,
        unreliable=None if row.verdict == "unknown" else row.verdict == "unreliable", notes=tuple(row.footnotes()),
        row=row, reported={"FIRE paper": _reported(row, "FIRE"), "RobustBench": _reported(row, "RobustBench")},
    )  # fmt: skip


def _reported(row: Row, source: str) -> str:
    """Clean / robust of what ``source`` published, with its radius or network where they are not the row's."""
    each = row.published(source)
    if each is None:
        return "–"
    at = f" at {each['eps']}" if each["eps"] else ""
    other = f" ({each['arch']})" if each["arch"] != row.plan["recipe"]["arch"] else ""
    return f"{each['clean']:.2f} / {each['robust']:.2f}{at}{other}"


def published() -> list[Entry]:
    """Every published figure, as its source gives it: of the package, or of the user's own update of it.

    Raises:
        DataError: if the latter cannot be read.
    """
    return [_published(each) for each in published_rows.in_use()]


def shipped() -> list[Entry]:
    """The published figures of the package, which are the same on every machine."""
    return [_published(each) for each in published_rows.shipped()]


def _published(each: Mapping[str, str]) -> Entry:
    seeds = int(each.get("seeds", 1))
    clean, robust = (MeanStd(float(each[name]), None, seeds) for name in ("clean_acc", "autoattack_acc"))
    took = each.get("train_seconds")
    about: dict[str, Any] = {name: each[{"title": "name", "norm": "threat"}.get(name, name)] for name in _TEXTS}
    return Entry(
        origin=BENCHMARK if "seeds" in each else PUBLISHED, method=each.get("method", each["key"]), clean=clean,
        robust=robust, average=MeanStd((clean.mean + robust.mean) / 2, None, seeds),
        train_seconds=MeanStd(float(took), None, seeds) if took else None,
        extra="file" if each["additional_data"] == "true" else "",
        best_known=float(each["external"]) if each["external"] else None,
        unreliable={"true": True, "false": False}.get(each["unreliable"]),
        notes=tuple(f"{said[0].upper()}{said[1:]}." for said in each["note"].split("; ") if said),
        **about,
    )  # fmt: skip


_TEXTS = ("key", "title", "link", "authors", "venue", "architecture", "dataset", "norm", "eps", "source")


def reevaluated(folder: Path, without: Collection[Path] = ()) -> list[Entry]:
    """Weights that `robench eval` attacked, RobustBench's or of a file: one entry per setting.

    ``folder``: where they lie, or the file. ``without``: files that are left out.

    Raises:
        DataError: if an evaluation cannot be read.
    """
    known = {(each.dataset, each.norm, each.key): each for each in published()}
    found: defaultdict[tuple[Any, ...], dict[str, list[tuple[Path, dict[str, Any]]]]] = defaultdict(dict)
    for path, facts in checkpoints.evaluations(folder):
        zoo = checkpoints.of_zoo(facts)
        file = "" if zoo else path.name.partition(".eval.")[0]
        if any(path.name.startswith(f"{each.name}.") and path.resolve().parent == each.parent for each in without):
            continue
        setting = tuple(
            str(facts.get(name, "")) for name in sorted(checkpoints.NEEDED - {"clean", "robust"} | {"order"})
        )
        dataset = path.resolve().parent.parent.name if zoo else facts["dataset"]
        found[dataset, file, setting][facts["attack"]] = [(path, facts)]
    return [_reevaluated(dataset, file, each, known) for (dataset, file, _), each in found.items()]


def _reevaluated(
    dataset: str, file: str, found: Mapping[str, Sequence[tuple[Path, dict[str, Any]]]],
    known: Mapping[tuple[str, str, str], Entry],
) -> Entry:  # fmt: skip
    """An entry of the zoo's weights, or of checkpoints called ``file``: by attack, an evaluation of each."""
    aa, pgd20 = ([facts for _, facts in found.get(name, ())] for name in ("aa", "pgd20"))
    every, together = aa or pgd20, worst.of_files(found.get("aa") or found["pgd20"])
    below = worst.over_seeds(together, range(len(every)))
    facts, count = every[0], len(every)
    key = file or facts["arch"].removeprefix("rb:")
    origin, paper = CHECKPOINT if file else REEVALUATED, None if file else known.get((dataset, facts["norm"], key))
    about: dict[str, Any] = {name: getattr(paper, name) if paper else "" for name in _TEXTS}
    about |= {"key": key, "title": about["title"] or key, "dataset": dataset, "source": origin}
    about |= {"architecture": display_name(facts["arch"])} if file else {}
    about |= {"norm": facts["norm"], "eps": facts["eps"]}
    verdicts = [each.get("reliability", {"verdict": "unknown", "reasons": []}) for each in aa]
    said = {each["verdict"] for each in verdicts} or {"unknown"}
    of = "Published weights" if not file else "A checkpoint" if count == 1 else f"{count} checkpoints"
    notes = [f"{of}, our evaluation{'; not trained here' * bool(file)}."]
    reasons = [reason for each in verdicts if each["verdict"] == "unreliable" for reason in each["reasons"]]
    notes += [f"Unreliable: {reworded(reason)} ({READ})." for reason in dict.fromkeys(reasons)]
    if aa and "unreliable" not in said and "unknown" in said:
        notes.append(f"Whether AutoAttack's result can be believed is not known ({READ}).")
    return Entry(
        worst=below, best_known=below.mean if below else None, origin=origin, method=key,
        images=images_of(facts), examples=facts["examples"], evaluation_seed=facts["seed"],
        clean=mean_std([each["clean"] for each in every]),
        robust=mean_std([each["robust"] for each in aa]) if aa else None,
        pgd20=mean_std([each["robust"] for each in pgd20]) if pgd20 else None,
        average=mean_std([(each["clean"] + each["robust"]) / 2 for each in aa]) if aa else None,
        extra=paper.extra if paper else "",
        unreliable=True if "unreliable" in said else False if said == {"reliable"} else None,
        notes=(*notes, *worst.notes(together)),
        **about,
    )  # fmt: skip


def of_measured(measured: checkpoints.Measured) -> Entry:
    """Evaluated checkpoints of one method."""
    found = {name: list(zip(measured.paths[name], each, strict=True)) for name, each in measured.by_attack.items()}
    return _reevaluated(measured.facts[0]["dataset"], measured.name, found, {})


def entries_in(sources: Sequence[Path], eps: str = "", others: Sequence[str] = ()) -> list[Entry]:
    """What lies at ``sources``: boards, run folders, evaluated weights of RobustBench's zoo, evaluated checkpoints.

    ``eps``: rows that claim this radius instead of their own. ``others``: checkpoints of which several are one row, see
    checkpoints.named.

    Raises:
        DataError: if there is nothing, or a source does not exist.
        UsageError: if ``eps`` is no number.
    """
    try:
        Quantity(eps or "0")
    except ValueError as fault:
        raise UsageError(f"--eps: {fault}") from None
    named = checkpoints.named(others)
    found = [of_measured(each) for name, files in named.items() for each in checkpoints.together(name, files, eps)]
    apart = {path.resolve() for files in named.values() for path in files}
    for source in {each.resolve(): each for each in sources}.values():
        if not source.exists():
            raise DataError(f"{source} does not exist; train something first: `robench train fire digits`")
        here = [of_row(row) for row in find_rows(source, eps)]
        here += [each for each in reevaluated(source, apart) if not eps or same(eps, each.eps)]
        found += [replace(each, place=str(source)) for each in here if each not in found]  # sources may hold each other
    if not found:
        raise DataError(_nothing(sources, eps))
    return told_apart(found)


def told_apart(entries: Sequence[Entry]) -> list[Entry]:
    """The same entries; those of ours that share a method with the label of what differs."""
    rows = iter(labelled([each.row for each in entries if each.row]))
    return [replace(each, row=(row := next(rows)), method=row.name) if each.row else each for each in entries]


def _nothing(sources: Sequence[Path], eps: str) -> str:
    """That nothing at ``sources`` has been evaluated, and what to do about it."""
    places = ", ".join(map(str, sources))
    if strange := [source for source in sources if source.suffix == ".json" and source.is_file()]:
        return (
            f"{strange[0]} is no row of ours: it has no {BOARD_KEY} with a plan, as `robench table --publish` writes it"
        )
    if eps:
        return f"no evaluated run at eps {eps} in {places}; make one first: `robench eval RUNS --eps {eps}`"
    trained = [run.folder for source in sources for run in find(source) if run.trained]
    if not trained:
        return f"no evaluated run in {places}; make one first: `robench train fire digits`"
    more = f", and {len(trained) - 1} more" if len(trained) > 1 else ""
    return f"no evaluated run in {places}, but trained ones; attack them: `robench eval {trained[0]}`{more}"


def beside(entries: Iterable[Entry], known: Sequence[Entry] | None = None) -> list[Entry]:
    """Those of ``known`` that compare with one of ``entries``: the same data set, norm and, nearly, radius.

    ``known``: by default everything published, and the means of benchmarks.
    """
    known = [*published(), *map(_published, published_rows.benchmarks())] if known is None else known
    mine = [(each.dataset, each.norm, _number(each.eps)) for each in entries]
    return [
        each for each in known
        if any(each.dataset == dataset and each.norm == norm and _near(_number(each.eps), eps)
               for dataset, norm, eps in mine)
    ]  # fmt: skip


def _near(one: float, other: float) -> bool:
    """Whether two radii are as near as 0.031 and 8/255, which RobustBench puts on one board."""
    return abs(one - other) <= 0.02 * max(one, other)


def _number(eps: str) -> float:
    return float(Quantity(eps))
