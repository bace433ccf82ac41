"""Areas of the classes of a map, and its accuracy, from the map and a probability sample of reference labels.

`sample_map` (`sample.py`) draws where to look: points at pixel centres, stratified by the map. `estimate_area` (`estimate.py`) turns
the labels of these points into error matrix, accuracies and areas with intervals. Good practice is that of Olofsson et al. (2014,
Remote Sensing of Environment 148, 42-57); strata need not be the classes of the map (Stehman 2014, International Journal of Remote
Sensing 35(13), 4923-4939).

Files, from the pixels up: `classmap.py` (a class map and what lies beside it), `ground.py` (area of a pixel on the ground),
`frame.py` (pixels that may be drawn), `strata.py` (strata and allocation), `points.py` and `design.py` (what is written and read
back); `intervals.py`, `estimators.py` and `assisted.py` (arrays in, arrays out); `page.py` (the report).
"""
