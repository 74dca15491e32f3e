"""One module per gRPC service: thin handlers."""
