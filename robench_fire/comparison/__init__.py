"""Whether two rows differ, and what it takes to know.

Imports: statistics, problem, boards.
"""
