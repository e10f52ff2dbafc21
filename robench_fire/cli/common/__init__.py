"""Options that several commands share, and how progress is shown."""
