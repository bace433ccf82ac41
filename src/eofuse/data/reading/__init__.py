"""Foreign files: how each kind is opened, read and brought to a grid, in one place for tables, scenes and maps."""
