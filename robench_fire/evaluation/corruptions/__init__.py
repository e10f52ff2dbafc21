"""Common corruptions: what a model is right on, corruption by corruption, kept in one JSON."""
