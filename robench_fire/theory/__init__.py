"""The FIRE paper's theory as numbers: its Gaussian model, the statistical manifold, distances between predictions.

Imports: nothing of the folders.
"""
