"""LwM2M: TLV, the objects of a bootstrap, and the bootstrap and registration interfaces, sans-IO."""
