"""The one training loop, the run folder around it, and the controls every result is compared with."""
