"""The one training loop, the only owner of mode, optimiser and randomness: engine, epoch, step, state, validation.

Imports: problem, devices, data, models.
"""
