"""Pages to look at: a report of runs or a board in one file, and boards as a static website.

Imports: statistics, problem, runs, evaluation, boards, comparison, tables, figures.
"""
