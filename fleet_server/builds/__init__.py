"""Runs the trainer as a sandboxed child process."""
