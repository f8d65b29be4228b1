"""The words that devices and server share: topics, messages, manifest, states, reasons.

House rules: values only. No clock, chance, file, socket or environment; nothing outside the standard library; nothing
that makes the supervisor heavier. The device is the hardest part of a fleet to change, so the agent owns these words,
and the server and the trainer import them.
"""
