"""Pictures of rows, runs and the theory, each with its data; matplotlib without a display.

Imports: statistics, theory, problem, runs, evaluation, boards, comparison, tables.
"""
