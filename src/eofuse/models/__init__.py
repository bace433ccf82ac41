"""Models: normalise, fuse, decide. `model.py` puts them together and `artifact.py` saves and loads them."""
