"""Rows and boards: RobustBench's model_info, published results, texts, pages. Loads no torch.

Imports: statistics, problem, models, runs, evaluation.
"""
