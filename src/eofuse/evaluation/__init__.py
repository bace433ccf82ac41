"""What a set of predictions is worth: metrics, and how sure one can be of them.

Takes arrays only and knows no model and no file: `metrics` computes scores of a whole test set (under one weighting of
its rows, or many at once), `statistics` gives intervals and paired comparisons that respect that patches of one scene
belong together.
"""
