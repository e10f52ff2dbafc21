"""A package of its own, as RobustBench installs another one of this name: `python -m tests.faults` is ours."""
