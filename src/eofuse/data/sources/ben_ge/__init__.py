"""Folders of ben-ge and BigEarthNet."""
