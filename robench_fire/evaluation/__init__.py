"""Evaluation: attacks on test images in units that can be interrupted, shared out and checked."""
