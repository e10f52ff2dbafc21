"""Attacks of a user's own: how they are named, how they are called, and what their result says of AutoAttack's."""
