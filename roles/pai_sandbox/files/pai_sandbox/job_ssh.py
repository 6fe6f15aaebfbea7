"""The key pair that the server keeps for each user's jobs, in the user's free data."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_BITS = 2048
_COMMENT = "pai-job-ssh"


def new_key_pair() -> dict[str, str]:
    """A fresh pair: ``key`` as PEM of PKCS 1, ``pubKey`` as one line of OpenSSH."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    return {"key": pem.rstrip("\n"), "pubKey": f"{line} {_COMMENT}"}
