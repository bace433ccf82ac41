"""Heads: `Features` in, one target's output."""
