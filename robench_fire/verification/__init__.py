"""Whether runs and boards still hold what was written: hashes, aggregates, and predictions made again.

Imports: problem, data, models, runs, evaluation, boards, tables, statistics.
"""
