"""Data only: device profiles, agent configurations, systemd units, broker configurations."""
