"""Data: foreign layouts (`sources`), the packed store, targets, splits and batches."""
