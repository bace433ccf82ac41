"""A package that adds things to eofuse from outside, as any other can: a file a thing, named by an entry point."""
