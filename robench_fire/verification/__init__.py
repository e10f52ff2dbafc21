"""Whether runs and boards still hold what was written: hashes, aggregates, and predictions made again.

Imports: statistics, problem, data, models, runs, evaluation, boards, tables.
"""
