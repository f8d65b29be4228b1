"""The worker: loads verified models, answers predictions, and counts."""
