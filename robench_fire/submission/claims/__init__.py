"""What a submission claims: from runs, from a checkpoint, and what either lacks."""
