"""Scenes of rasters and polygons, cut into patches."""
