"""Pictures of rows, runs and the theory, each with its data; matplotlib without a display.

Imports: theory, runs, boards, comparison, tables.
"""
