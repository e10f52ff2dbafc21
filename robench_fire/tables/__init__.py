"""Tables of rows of ours and of published ones: texts, data, pages. Loads no torch.

Imports: statistics, data, models, runs, evaluation, boards, comparison.
"""
