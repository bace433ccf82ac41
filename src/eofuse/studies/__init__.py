"""Studies: what is compared, its runs, and what they say (`results`)."""
