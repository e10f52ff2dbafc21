"""What benchmarks/peers.py compares: trainings (steps), attacks, and how they take turns (turns)."""
