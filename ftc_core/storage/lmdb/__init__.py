"""The embedded engine: one memory-mapped LMDB environment shared by all processes."""
