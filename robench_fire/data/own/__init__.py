"""Images of the user's own: where they come from, how they are prepared, and the data set that they then are."""
