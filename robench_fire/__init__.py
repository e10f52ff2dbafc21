"""robench_fire: a robustness benchmarking harness for adversarial-training defenses."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("robench-fire")
except PackageNotFoundError:  # imported from a checkout that was never installed
    __version__ = "0+uninstalled"
