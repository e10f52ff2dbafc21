"""One module, one data set; the file stem is its name."""
