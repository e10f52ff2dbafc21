"""What `robench eval` found, as a table: a row for each weights, a column for each attack and radius."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from robench_fire.cli.common.console import plain
from robench_fire.evaluation.own_attacks.worst_case import is_own, shown
from robench_fire.statistics.summary import mean_std

Facts = list[dict[str, Any]]


def show(facts: Facts, together: Mapping[str, Facts]) -> None:
    """One row per weights, a column per attack and radius, mean ± std below; then what the verdicts rest on.

    ``together``: what several attacks leave together, see worst_case.together.
    """
    console = plain()
    values = [(each["weights"], _column(each), each["robust"]) for each in facts]
    values += [(each["weights"], f"Worst case\n{each['norm']} {each['eps']}", each["robust"])
               for each in together.get("worst_case", [])]  # fmt: skip
    values += [(each["weights"], _union(each), each["robust"]) for each in together.get("union", [])]
    columns, at = list(dict.fromkeys(column for _, column, _ in values)), {each[:2]: each[2] for each in values}
    weights = list(dict.fromkeys(each["weights"] for each in facts))
    clean = {each["weights"]: each["clean"] for each in facts}
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=_title(facts), title_justify="left", title_style="")
    drawn.add_column("Weights", overflow="fold")
    for name in ("Clean", *columns, "Verdict"):
        drawn.add_column(name, justify="left" if name == "Verdict" else "right", overflow="fold")
    for path in weights:
        cells = [f"{at[path, column]:.2f}" if (path, column) in at else "–" for column in columns]
        known = [each for each in facts if each["weights"] == path]
        drawn.add_row(path, f"{clean[path]:.2f}", *cells, _verdict(known))
    if len(weights) > 1 and len({Path(path).parent for path in weights}) == 1:  # the seeds of one plan
        over = [[at[path, column] for path in weights if (path, column) in at] for column in columns]
        means = [f"{mean_std(each)}" if len(each) == len(weights) else "–" for each in over]
        drawn.add_section()
        drawn.add_row("mean ± std", f"{mean_std([clean[path] for path in weights])}", *means, "")
    console.print(drawn)
    _say(console, [*_estimated(facts), *_uncounted(facts), *_explained(together)])
    for each in facts:
        _print_reasons(console, each)


def _column(facts: Mapping[str, Any]) -> str:
    return f"{shown(facts).replace(':', chr(10))}\n{facts['norm']} {facts['eps']}"


def _union(each: Mapping[str, Any]) -> str:
    return "Union\n" + ",\n".join(f"{norm} {eps}" for norm, eps in each["threats"])


def _say(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _explained(together: Mapping[str, Facts]) -> list[str]:
    """Which attacks a worst case and a union are of, where they are the same for all weights."""
    lines = []
    for name, said in (("worst_case", "Worst case: correct under all of"), ("union", "Union: correct under all of")):
        sets = dict.fromkeys((", ".join(each["attacks"]), len(each["attacks"])) for each in together.get(name, []))
        lines += [f"{said} {names}{_ADDED[name, count == 1]}." for names, count in sets]
    return lines


_ADDED = {
    ("union", True): ", under each norm", ("union", False): ", under each norm", ("worst_case", False): "",
    ("worst_case", True): "; no other attack was run on these images (--examples says on how many)",
}  # fmt: skip


def _estimated(facts: Facts) -> list[str]:
    quick = any(each["attack"] == "quick" for each in facts)
    return ["quick: an estimate for development, not AutoAttack (docs/evaluation.md#a-quick-estimate)."] * quick


def _uncounted(facts: Facts) -> list[str]:
    """What attacks of the user's own returned that the threat model does not allow, a line for each."""
    lines = []
    for each in facts:
        found = each.get("uncounted", {})
        parts = [
            f"{found['outside']} leave the ball (the longest perturbation is {found['farthest']:.4g})"
            if found.get("outside") else "",
            f"{found['beyond']} leave [0, 1] (by {found['excess']:.4g})" if found.get("beyond") else "",
            f"{found['not_finite']} are not finite" if found.get("not_finite") else "",
        ]  # fmt: skip
        if any(parts):
            said = f"of {found['attacked']} perturbed images {', '.join(filter(None, parts))}; these do not count"
            lines.append(f"{each['weights']}, {shown(each)} {each['norm']} {each['eps']}: {said}")
    return lines


def _title(facts: list[dict[str, Any]]) -> str:
    images = sorted({each["examples"] for each in facts})
    shards = sorted({f"{each['shard'][0]}/{each['shard'][1]}" for each in facts if "shard" in each})
    part = f", shard {', '.join(shards)} only: join with --merge" if shards else ""
    return f"accuracy in percent on {' or '.join(f'{each:,}' for each in images)} test images{part}"


def _verdict(row: list[dict[str, Any]]) -> str:
    """Of the complete AutoAttacks of a row."""
    found = [each["reliability"]["verdict"] for each in row if _complete(each) and "reliability" in each]
    return ", ".join(dict.fromkeys(found))


def _complete(facts: Mapping[str, Any]) -> bool:
    """Whether a verdict rests on it: a set of AutoAttack's."""
    return facts["attack"].startswith("aa") and not is_own(facts)


def _print_reasons(console: Console, facts: dict[str, Any]) -> None:
    if missing := facts.get("images_missing"):
        said = (
            f"{len(missing)} parts of the perturbed images are missing, such as {missing[0]}: a submission needs them"
        )
        console.print(f"{facts['weights']}, {facts['attack']} {facts['eps']}: {said}", highlight=False, soft_wrap=True)
    found = facts.get("reliability", {"verdict": "reliable", "reasons": []})
    if found["verdict"] != "reliable" and _complete(facts):
        name = f"{facts['weights']}, {facts['attack']} {facts['eps']}: {found['verdict']}"
        console.print(
            "\n".join([name, *(f"  {reason}" for reason in found["reasons"])]), highlight=False, soft_wrap=True
        )
