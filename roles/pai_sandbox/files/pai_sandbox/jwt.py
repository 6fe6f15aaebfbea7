"""JSON Web Tokens with HS256, the only kind that the server makes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

_HEADER = {"alg": "HS256", "typ": "JWT"}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _signature(signed: str, key: str) -> str:
    return _encode(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest())


def encode(payload: dict[str, Any], key: str) -> str:
    """The signed token of a payload."""
    parts = [_encode(json.dumps(part, separators=(",", ":")).encode()) for part in (_HEADER, payload)]
    signed = ".".join(parts)
    return f"{signed}.{_signature(signed, key)}"


def payload_of(token: str) -> dict[str, Any] | None:
    """What stands in a token, good or not; None for what is no token."""
    try:
        _header, payload, _signature_part = token.split(".")
        found = json.loads(_decode(payload))
    except (ValueError, UnicodeEncodeError):
        return None
    return found if isinstance(found, dict) else None


def decode(token: str, key: str, now_s: float) -> dict[str, Any] | None:
    """The payload, or None when the token is broken, signed with another key, or expired at ``now_s``."""
    signed, _, signature = token.rpartition(".")
    try:
        header, payload = (json.loads(_decode(part)) for part in signed.split("."))
        if header.get("alg") != "HS256" or not hmac.compare_digest(signature, _signature(signed, key)):
            return None
    except (ValueError, AttributeError, UnicodeEncodeError, TypeError):
        return None
    if not isinstance(payload, dict) or payload.get("exp", now_s + 1) <= now_s:
        return None
    return payload
