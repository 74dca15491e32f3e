"""The `ftc` command."""
