"""What happens around every RPC, in this order: errors, call log, authentication with authorization (by API
key, or by client certificate on the port that demands one), the end of calls whose credential is revoked."""
