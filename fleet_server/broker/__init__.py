"""All MQTT of the server."""
