"""Specs of tables and scenes: first ones, written from what is there."""
