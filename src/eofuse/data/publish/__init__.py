"""Stores for others: xarray datasets, GeoTIFF, WebDataset and Parquet, with a card and checksums."""
