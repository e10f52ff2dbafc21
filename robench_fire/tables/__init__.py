"""Rows and boards: RobustBench's model_info, published results, texts, pages. Loads no torch.

Imports: statistics, problem, data, models, runs, evaluation.
"""
