"""The server beside others, under the same load in the same run."""
