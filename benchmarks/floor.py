"""The bare public-key floor of one full onboarding on P-256: what no server can do without.

Two key generations (the handshake's ephemeral key, the device's new credential), one ECDH, two signatures
(ServerKeyExchange, the credential's certificate) and two verifications (the device's certificate, its
CertificateVerify), with the same `cryptography` that the server uses.
"""

from __future__ import annotations

import statistics
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["run"]


def run(iterations: int = 1_000, repeats: int = 5) -> float:
    """CPU microseconds of one floor: the median of `repeats` means over `iterations`."""
    peer = ec.generate_private_key(ec.SECP256R1())
    peer_public = peer.public_key()
    signer = ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(hashes.SHA256())
    message = bytes(500)
    signature = peer.sign(message, algorithm)
    means = []
    for _ in range(repeats):
        started = time.process_time()
        for _ in range(iterations):
            ephemeral = ec.generate_private_key(ec.SECP256R1())
            ec.generate_private_key(ec.SECP256R1())
            ephemeral.exchange(ec.ECDH(), peer_public)
            signer.sign(message, algorithm)
            signer.sign(message, algorithm)
            peer_public.verify(signature, message, algorithm)
            peer_public.verify(signature, message, algorithm)
        means.append((time.process_time() - started) / iterations)
    return statistics.median(means) * 1e6


if __name__ == "__main__":
    print(f"public-key floor: {run():.0f} µs CPU")
