"""What the theory page says: the paper's numbers and ours."""

from __future__ import annotations

import json
from typing import Any

from figures_boards import ROOT


def _found(name: str) -> dict[str, Any]:
    text = (ROOT / "results" / "theory" / f"{name}.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def theory_gaussian() -> str:
    """The extreme points beside the paper's, and what each risk's minima reach."""
    found, paper = _found("gaussian"), _found("gaussian")["paper"]
    lines = ["| | the paper | here |", "| --- | ---: | ---: |"]
    for name, said in {"nat": "least natural error", "adv": "least adversarial error"}.items():
        lines.append(f"| {said}: α | {paper[f'alpha_{name}']:.3f} | {found[f'alpha_{name}']:.4f} |")
        pairs = [" / ".join(f"{each:.{places}f}" for each in pair) for pair, places in (
            (paper[f"accuracy_{name}"], 3), (found[f"accuracy_{name}"], 4))]  # fmt: skip
        lines.append(f"| {said}: natural / adversarial accuracy | {pairs[0]} | {pairs[1]} |")
    lines.append(f"| maximum average accuracy | not given | {found['maa']:.4f} at α {found['alpha_maa']:.3f} |")
    for method, each in found["covered"].items():
        claim = {"TRADES": "all but a segment, without the MAA", "FIRE": "all of it, with the MAA",
                 "Hellinger": "about half"}[method]  # fmt: skip
        best = f"best average {each['maa']:.4f}, α up to {each['farthest']:.3f}"
        lines.append(f"| {method}: share of the Pareto-optimal arc | {claim} | {100 * each['share']:.0f} %; {best} |")
    return "\n".join([*lines, "", found["sentence"]])


def theory_manifold() -> str:
    """What came out of the claims about the manifold."""
    return str(_found("manifold")["sentence"])


def theory_distance() -> str:
    """What came out of the claims about distances."""
    return str(_found("distance")["sentence"])
