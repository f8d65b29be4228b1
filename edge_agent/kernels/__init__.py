"""Lowered models: the typed graph, its file, and the interpreter that computes it with numpy alone."""
