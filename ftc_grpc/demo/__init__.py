"""`ftc demo`: the whole story on one machine, through real sockets and the real API."""
