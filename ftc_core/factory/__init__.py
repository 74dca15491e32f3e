"""What happens at the factory: the manufacturer CA, device bundles, labels."""
