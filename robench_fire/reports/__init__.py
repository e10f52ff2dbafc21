"""Pages to look at: a report of runs or a board in one file, and boards as a static website.

Imports: statistics, problem, models, runs, evaluation, boards, comparison, tables, figures.
"""
