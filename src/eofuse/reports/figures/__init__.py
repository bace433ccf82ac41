"""Pictures, a file a kind; each function gives a `matplotlib.figure.Figure` and keeps no global state."""
