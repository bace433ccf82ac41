"""Vectors of pretrained networks as modalities of a store, each beside those of its twin with random weights.

`embedding.make` is the way in; `base` says what an embedder is, `foundation` has those of foundation models, `own` those of models of
eofuse and of networks with weights by their names.
"""
