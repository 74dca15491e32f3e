"""First-to-Claim: the onboarding of devices that belong to nobody yet."""
