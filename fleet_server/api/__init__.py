"""All HTTP of the server."""
