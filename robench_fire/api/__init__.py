"""What a notebook or a script calls, as ``import robench_fire as rb``: training, evaluation, tables, comparisons.

Imports: statistics, problem, datasets, devices, data, models, runs, training, evaluation, boards, comparison, tables,
launching.
"""
