"""The gRPC API over the use cases of ftc_core."""

import os

# gRPC reads this when it is first imported. Its own lines, about a port that cannot be bound or a server that
# cannot be reached, would stand beside the one line that we give for it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
