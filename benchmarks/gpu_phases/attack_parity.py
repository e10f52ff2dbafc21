"""Phase: AutoAttack, ours and pyautoattack's, on one model: seconds, and image by image what is left standing."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyautoattack import AutoAttack

from robench_fire.data import fetching
from robench_fire.data.batches import to_float
from robench_fire.devices.device import resolve, use, wait
from robench_fire.evaluation.evaluator import Evaluations
from robench_fire.evaluation.resumable import evaluate_source
from robench_fire.problem.dataset import Split, head
from robench_fire.runs.folders import find
from robench_fire.runs.model_source import ModelSource, source_of


def ours(source: ModelSource, test: Split, attack: str, device: torch.device) -> tuple[float, NDArray[Any]]:
    """Seconds of a whole evaluation in an empty folder, and which images stand."""
    evaluations = Evaluations(attacks=(attack,), examples=len(test.labels), batch_size=len(test.labels))
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = replace(source, stem=Path(folder) / "eval")
        started = time.perf_counter()
        evaluate_source(elsewhere, test, evaluations, device, lambda *_: None, judge=False)
        took = time.perf_counter() - started
        (masks,) = Path(folder).glob("*.npy")
        return took, np.load(masks)[1]


def upstream(source: ModelSource, test: Split, attack: str, device: torch.device) -> tuple[float, NDArray[Any]]:
    """The same of pyautoattack, on the model as it is loaded, its parameters frozen."""
    model = source.load(device).requires_grad_(False)
    x, label = to_float(test.images).to(device), test.labels.to(device)
    started = time.perf_counter()
    which: dict[str, Any] = {} if attack == "aa" else {"version": "custom", "attacks": [attack]}
    attacks = AutoAttack(model, norm=source.claim.norm, eps=float(source.claim.eps), seed=0, device=device, **which)
    x_adv, _ = attacks.run_standard_evaluation(x, label, batch_size=len(label))
    wait(device)
    took = time.perf_counter() - started
    with torch.no_grad():
        return took, (model(x_adv.to(device)).argmax(1) == label).cpu().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--examples", type=int, required=True)
    parser.add_argument("--attack", required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("training", nargs=argparse.REMAINDER, help="What `robench train` is given, as in end_to_end.py")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    device, attack, count = resolve(asked.device), asked.attack, asked.examples
    use(device)
    runs = asked.work / "runs"
    train = [sys.executable, "-m", "robench_fire", "train", *asked.training, "--epochs", "2", "--seeds", "1"]
    subprocess.run([*train, "--no-eval", "--device", asked.device, "--output", str(runs)], check=True)  # if need be
    source = source_of(find(runs)[0])
    test = head(fetching.splits(source.dataset, source.parts(), fetching.data_folder()).test, count)
    upstream(source, head(test, 16), "apgd-ce", device)  # so that neither pays for the device's and the kernels' start
    (own, mine), (other, theirs) = ours(source, test, attack, device), upstream(source, test, attack, device)
    result = {
        "attack": attack, "images": count, "seconds": {"ours": own, "pyautoattack": other}, "ratio": other / own,
        "robust": {"ours": int(mine.sum()), "pyautoattack": int(theirs.sum())},
        "verdicts that differ": int((mine != theirs).sum()),
    }  # fmt: skip
    print(result)
    asked.json.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
