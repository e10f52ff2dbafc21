"""What is asked of a defense: threat model, PGD, targets, contracts of defense and data set, plan, registry.

Imports: nothing of the folders.
"""
