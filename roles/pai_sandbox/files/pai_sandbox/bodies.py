"""Request bodies as Express and body-parser 1.18 read them."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from .errors import PaiError

BODY_LIMIT_BYTES = 100 * 1024


def _charset(content_type: str) -> str | None:
    found = re.search(r'charset="?([^";\s]+)', content_type, re.IGNORECASE)
    return found.group(1).lower() if found else None


def _no_constant(word: str) -> None:
    """JSON has no NaN and no Infinity."""
    raise PaiError(400, None, f"Unexpected token {word.lstrip('-')[0]} in JSON")


def _parse_json(text: str) -> Any:
    """Parse an object or list; the messages are those of Node 10."""
    stripped = text.lstrip(" \t\r\n")
    if stripped[:1] not in ("{", "["):
        position = len(text) - len(stripped)
        raise PaiError(400, None, f"Unexpected token {stripped[:1]} in JSON at position {position}")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
            raise PaiError(400, None, "Unexpected end of JSON input") from error
        raise PaiError(400, None, f"Unexpected token {text[error.pos]} in JSON at position {error.pos}") from error


def _parse_form(text: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        if key not in fields:
            fields[key] = value
        elif isinstance(fields[key], list):
            fields[key].append(value)
        else:
            fields[key] = [fields[key], value]
    return fields


def parse_body(raw: bytes, content_type: str) -> Any:
    """The body that a route sees: an object, the text of a ``text/*`` body, or ``{}`` for everything else.

    Raises ``PaiError`` without a code: 413 above 100 kB, 415 for an unknown charset, 400 for broken JSON.
    """
    media_type = content_type.split(";", 1)[0].strip().lower()
    is_text = media_type.startswith("text/")
    is_json = media_type == "application/json"
    is_form = media_type == "application/x-www-form-urlencoded"
    if not raw or not (is_text or is_json or is_form):
        return {}
    charset = _charset(content_type) or "utf-8"
    if is_json and not charset.startswith("utf-"):
        raise PaiError(415, None, f'unsupported charset "{charset.upper()}"')
    if len(raw) > BODY_LIMIT_BYTES:
        raise PaiError(413, None, "request entity too large")
    try:
        text = raw.decode(charset, errors="replace")
    except LookupError as error:
        raise PaiError(415, None, f'unsupported charset "{charset.upper()}"') from error
    if is_json:
        return _parse_json(text)
    return _parse_form(text) if is_form else text
