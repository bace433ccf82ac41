"""What is in a store: its description, its card, and what to fix first."""
