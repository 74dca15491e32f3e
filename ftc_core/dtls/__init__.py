"""DTLS 1.2 over OpenSSL memory BIOs. The only room that knows OpenSSL."""
