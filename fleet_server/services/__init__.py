"""Load, decide, save, announce: one file per noun."""
