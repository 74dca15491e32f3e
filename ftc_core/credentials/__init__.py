"""The issuing CA for LwM2M client certificates, and the server identities."""
