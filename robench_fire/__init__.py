"""robench_fire: a robustness benchmarking harness for adversarial-training defenses.

``import robench_fire as rb``: what the commands do as calls (``rb.train``, ``rb.evaluate``, ``rb.table`` ...), and what
a method or a data set of one's own is made of, wherever it lies inside; losses are ``rb.losses``, attacks on a model of
one's own ``rb.attacks``. Nothing is loaded before it is asked for.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robench_fire import losses as losses
    from robench_fire.api import attacks as attacks
    from robench_fire.api.evaluating import evaluate as evaluate
    from robench_fire.api.evaluation import Evaluation as Evaluation
    from robench_fire.api.listing import list_architectures as list_architectures
    from robench_fire.api.listing import list_datasets as list_datasets
    from robench_fire.api.listing import list_defenses as list_defenses
    from robench_fire.api.loading import load as load
    from robench_fire.api.loading import load_images as load_images
    from robench_fire.api.objective import Objective as Objective
    from robench_fire.api.results import compare as compare
    from robench_fire.api.results import table as table
    from robench_fire.api.training import Runs as Runs
    from robench_fire.api.training import train as train
    from robench_fire.errors import RobenchError as RobenchError
    from robench_fire.problem.adversarial_weights import AdversarialWeights as AdversarialWeights
    from robench_fire.problem.dataset import Dataset as Dataset
    from robench_fire.problem.dataset import Download as Download
    from robench_fire.problem.dataset import File as File
    from robench_fire.problem.dataset import Mirror as Mirror
    from robench_fire.problem.dataset import Split as Split
    from robench_fire.problem.defense import Defense as Defense
    from robench_fire.problem.defense import Paper as Paper
    from robench_fire.problem.defense import Ramp as Ramp
    from robench_fire.problem.defense import Reported as Reported
    from robench_fire.problem.defense import Standard as Standard
    from robench_fire.problem.defense import Terms as Terms
    from robench_fire.problem.defense import View as View
    from robench_fire.problem.defense import Views as Views
    from robench_fire.problem.pgd import Pgd as Pgd
    from robench_fire.problem.pgd import Replay as Replay
    from robench_fire.problem.plan import Plan as Plan
    from robench_fire.problem.recipe import Adam as Adam
    from robench_fire.problem.recipe import Augment as Augment
    from robench_fire.problem.recipe import Cosine as Cosine
    from robench_fire.problem.recipe import CutMix as CutMix
    from robench_fire.problem.recipe import Cyclic as Cyclic
    from robench_fire.problem.recipe import Extra as Extra
    from robench_fire.problem.recipe import Mixup as Mixup
    from robench_fire.problem.recipe import OneCycle as OneCycle
    from robench_fire.problem.recipe import Recipe as Recipe
    from robench_fire.problem.recipe import Sgd as Sgd
    from robench_fire.problem.recipe import Steps as Steps
    from robench_fire.problem.targets import ClassMeans as ClassMeans
    from robench_fire.problem.targets import HardLabels as HardLabels
    from robench_fire.problem.targets import SelfAdaptive as SelfAdaptive
    from robench_fire.problem.threat import L2 as L2
    from robench_fire.problem.threat import Linf as Linf
    from robench_fire.problem.threat import Threat as Threat
    from robench_fire.quantity import Quantity as Quantity

_HOMES = {
    "api.evaluating": "evaluate",
    "api.evaluation": "Evaluation",
    "api.listing": "list_architectures list_datasets list_defenses",
    "api.loading": "load load_images",
    "api.results": "compare table",
    "api.training": "Runs train",
    "errors": "RobenchError",
    "problem.dataset": "Dataset Download File Mirror Split",
    "problem.adversarial_weights": "AdversarialWeights",
    "problem.defense": "Defense Paper Ramp Reported Standard Terms View Views",
    "problem.pgd": "Pgd Replay",
    "problem.plan": "Plan",
    "problem.recipe": "Adam Augment Cosine CutMix Cyclic Extra Mixup OneCycle Recipe Sgd Steps",
    "problem.targets": "ClassMeans HardLabels SelfAdaptive",
    "problem.threat": "L2 Linf Threat",
    "quantity": "Quantity",
    "api.objective": "Objective",
}
_MODULES = {"attacks": "api.attacks", "losses": "losses"}
_FACE = {name: home for home, names in _HOMES.items() for name in names.split()}

_checkout = Path(__file__).parent.parent
if not Path(__file__).with_name("defenses").exists() and (_checkout / "defenses" / "__init__.py").exists():
    __path__.append(str(_checkout))  # from the root of a checkout, whose folder hides an installed package

try:
    __version__ = version("robench-fire")
except PackageNotFoundError:  # imported from a checkout that was never installed
    __version__ = "0+uninstalled"


def __getattr__(name: str) -> Any:
    if name in _FACE:
        return getattr(import_module(f"{__name__}.{_FACE[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE, *_MODULES})
