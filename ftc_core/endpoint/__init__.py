"""The edge: UDP sockets, worker processes and their supervisor."""
