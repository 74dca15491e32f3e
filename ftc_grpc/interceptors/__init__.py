"""What happens around every RPC, in this order: errors, call log, authentication with authorization."""
