"""What the API costs: against bare grpc.aio, against the store alone, and beside bootstrapping devices."""
