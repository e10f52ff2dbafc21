"""The text log that leaderboards' maintainers expect: AutoAttack's lines, made from a record."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robench_fire.evaluation.record import Identity, Record


def text(record: Record) -> str:
    """AutoAttack's log of what ``record`` holds so far; times are summed over blocks and interruptions."""
    about = record.identity
    blocks = [block for _, block in sorted(record.blocks.items())]
    names = [name for name in blocks[0].after if all(name in block.after for block in blocks)]
    clean = np.concatenate([block.clean for block in blocks])
    lines = [
        *_head(about, record.machines),
        f"using {_version(str(about['attack']))} version including {', '.join(names)}.",
        f"initial accuracy: {_share(clean)}",
    ]
    before, spent = clean, 0.0
    for name in names:
        mask = np.concatenate([block.after[name] for block in blocks])
        spent += sum(block.seconds[name] for block in blocks)
        lines.append(f"{name} - {int((before & ~mask).sum())} out of {int(before.sum())} successfully perturbed")
        lines.append(f"robust accuracy after {name.upper()}: {_share(mask)} (total time {spent:.1f} s)")
        before = mask
    lines += [f"Warning: {flag}" for flag in sorted(record.flags)]
    largest = max(block.largest for block in blocks)
    lines += [f"max {about['norm']} perturbation: {largest:.5f}", f"robust accuracy: {_share(before)}"]
    return "\n".join(lines) + "\n"


def _head(about: Identity, machines: set[str]) -> list[str]:
    return [
        f"robench_fire, attack version {about['version']}, {'; '.join(sorted(machines))}",
        f"weights {about['weights_sha256']}",
        f"{about['examples']} images {about['images_sha256']}",
        f"norm {about['norm']}, eps {about['eps']}, seed {about['seed']}, blocks of {about['batch_size']}",
    ]


def _version(attack: str) -> str:
    return {"aa": "standard", "aa-plus": "plus", "aa-rand": "rand"}.get(attack, "custom")


def _share(mask: NDArray[Any]) -> str:
    return f"{100 * mask.mean():.2f}%"
