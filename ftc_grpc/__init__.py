"""The gRPC API over the use cases of ftc_core."""
