"""One data set = one file: ``DATASET``, a dataset.Dataset.

Imports: problem.
"""
