"""All that talks to hardware and processes: precision, clock, meters, compilation, randomness, workers, torchrun.

Imports: problem.
"""
