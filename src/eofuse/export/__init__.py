"""Trained models as files that run without eofuse: graph, what the file says of itself, writing, and the comparison before."""
