"""The control plane: registry, devices, rollouts, decisions, telemetry, REST API, web page, operator command."""
