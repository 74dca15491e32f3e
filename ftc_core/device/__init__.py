"""A simulated device on the same sans-IO core as the server."""
