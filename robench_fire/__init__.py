"""robench_fire: a robustness benchmarking harness for adversarial-training defenses."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_checkout = Path(__file__).parent.parent
if not Path(__file__).with_name("defenses").exists() and (_checkout / "defenses" / "__init__.py").exists():
    __path__.append(str(_checkout))  # from the root of a checkout, whose folder hides an installed package

try:
    __version__ = version("robench-fire")
except PackageNotFoundError:  # imported from a checkout that was never installed
    __version__ = "0+uninstalled"
