"""What benchmarks/gpu.py measures, the most valuable first."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Phase:
    """One process: ``script`` below benchmarks/ with ``options``, or with ``tiny`` in miniature.

    It writes its result to the file that ``--json`` names. ``estimate`` and ``limit``: seconds on a device of H100's
    class, and after which it is ended. ``memory``: GB that the device must have free. ``cifar10``: whether it takes the
    real data set. ``rest``: it takes what is left of the budget, shared with the others that do.
    """

    name: str
    what: str
    script: str
    options: str
    tiny: str
    estimate: int
    limit: int
    memory: float = 2.0
    cifar10: bool = False
    rest: bool = False

    def command(self, device: str, work: Path, seconds: float, json: Path, tiny: bool) -> list[str]:
        """What is run; words with a blank in them are none of ours, so splitting is enough."""
        words = (self.tiny if tiny else self.options).split()
        known = {"device": device, "work": str(work), "seconds": f"{seconds:.0f}"}
        script = [sys.executable, str(BENCHMARKS / self.script), "--json", str(json)]
        return [*script, *(each.format(**known) for each in words)]


TRAINING = "--device {device} --work {work} fire cifar10 --arch resnet-18 --no-compile"  # measured by phases of its own
TINY_TRAINING = "--device {device} --work {work} fire digits"
TINY = "--device {device} --arch wrn-10-1 --batch 2 --rounds 1 --random --least"


def _speed(arch: str, batch: int, estimate: int, memory: float, compiled: bool = False) -> Phase:
    size, kind = "" if batch == 256 else f"-{batch}", "compiled" if compiled else "speed"
    what = "compiled, and to CUDA graphs" if compiled else "in each format"
    more = " --compile --reduce-overhead" * compiled
    return Phase(
        f"{kind}-{arch}{size}", f"FIRE's and TRADES' step, {arch}, batch {batch}: as released, ours {what}",
        "training_speed.py", f"--device {{device}} --arch {arch} --batch {batch} --rounds 5{more}", TINY,
        estimate, 2 * estimate, memory, cifar10=True,
    )  # fmt: skip


def _row(defense: str) -> Phase:
    return Phase(
        f"row-{defense}", f"{defense} on ResNet-18: as many epochs as the rest allows, AutoAttack on 1,000 images",
        "gpu_phases/row.py", f"{defense} --device {{device}} --work {{work}} --seconds {{seconds}}",
        f"{defense} --device {{device}} --work {{work}} --seconds 1 --tiny", 150, 3600, 8, cifar10=True, rest=True,
    )  # fmt: skip


PHASES = (
    Phase("environment", "robench doctor, and an import of every module", "gpu_phases/environment.py",
          "--device {device}", "--device {device}", 40, 120, 0.5),
    Phase("tests", "pytest -m gpu of training and devices", "gpu_phases/suite.py", "devices training costs",
          "devices/test_waiting.py -knoticed", 150, 300),
    Phase("end-to-end", "train FIRE on CIFAR-10 with ResNet-18, killed once and resumed; evaluate 256 images",
          "gpu_phases/end_to_end.py", f"--examples 256 --attack aa {TRAINING}",
          f"--examples 16 --attack pgd20 {TINY_TRAINING}", 90, 240, 8, cifar10=True),
    _speed("resnet-18", 256, 60, 12),
    _speed("wrn-34-10", 256, 100, 60),
    Phase("autoattack", "AutoAttack against pyautoattack, 512 images, verdicts compared", "gpu_phases/attack_parity.py",
          f"--examples 512 --attack aa {TRAINING}", f"--examples 8 --attack apgd-ce {TINY_TRAINING}", 120, 300, 8,
          cifar10=True),
    Phase("tests-autoattack", "pytest -m gpu of AutoAttack's verdicts against pyautoattack's", "gpu_phases/suite.py",
          "upstream/test_autoattack.py", "devices/test_waiting.py -knoticed", 60, 240),
    Phase("agreement", "signs of the attack's gradient in each format", "precision.py",
          "agreement --device {device}", "agreement --device {device} --dataset digits --arch digits-cnn", 40, 120,
          cifar10=True),
    Phase("together", "five seeds of DigitsCNN side by side in one process", "seeds_at_once.py",
          "--device {device} --rounds 2 --ways one-seed,together --options=--no-compile",
          "--device {device} --rounds 1 --ways one-seed --epochs 1", 100, 240),
    Phase("two-processes", "two processes train one model: losses of one, NCCL on two GPUs, gloo on one",
          "gpu_phases/two_processes.py", "--device {device}", "--device {device}", 40, 120),
    _speed("resnet-18", 256, 240, 12, compiled=True),
    _speed("wrn-34-10", 256, 400, 60, compiled=True),
    _speed("resnet-18", 512, 70, 24),
    _speed("wrn-34-10", 512, 140, 115),
    Phase("precision-training", "accuracy after a short training in each format", "precision.py",
          "training --device {device} --arch resnet-18 --seeds 2 --images 10000 --epochs 5",
          "training --device {device} --dataset digits --arch digits-cnn --seeds 2 --images 64 --epochs 1 --modes fp32",
          180, 400, 8, cifar10=True),
    _row("trades"),
    _row("fire"),
)  # fmt: skip
NAMES = [each.name for each in PHASES]
