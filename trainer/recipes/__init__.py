"""The recipes that ship with the trainer: each `.toml` or `.py` file here is one, under its own name."""
