"""The verbs of `ftc` that are clients of the API."""
