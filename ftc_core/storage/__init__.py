"""The storage port, its engines, and group commit."""
