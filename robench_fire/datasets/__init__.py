"""One data set = one file: ``DATASET``, a dataset.Dataset.

Imports: problem.
"""

SHARED = "cifar10"
"""Whose protocol is meant where somebody attacks or trains without naming a data set."""
