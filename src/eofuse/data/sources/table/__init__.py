"""A table of samples, with files and columns that hold their values."""
