"""Templates in job files: tags ``<% … %>``, rendered by the server (parameters) and in the container (secrets)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from .errors import PaiError

_OPEN, _CLOSE = "<%", "%>"
_MISSING = object()


def _tokens(template: str) -> Iterator[tuple[str, str]]:
    """Top-level ``("text" | "name", value)`` pairs; what stands in a section is left out, as the server does."""
    position = 0
    sections: list[str] = []
    while True:
        start = template.find(_OPEN, position)
        text = template[position:] if start < 0 else template[position:start]
        if text and not sections:
            yield "text", text
        if start < 0:
            break
        end = template.find(_CLOSE, start + len(_OPEN))
        if end < 0:
            raise PaiError(500, None, f"Unclosed tag at {len(template)}")
        tag = template[start + len(_OPEN) : end].strip()
        position = end + len(_CLOSE)
        symbol, name = (tag[0], tag[1:].strip()) if tag[:1] in "#^/>{&=!" and tag else ("name", tag)
        if symbol in "#^":
            sections.append(name)
        elif symbol == "/":
            if not sections:
                raise PaiError(500, None, f'Unopened section "{name}" at {start}')
            if sections.pop() != name:
                raise PaiError(500, None, f'Unclosed section "{name}" at {start}')
        elif symbol == "name" and not sections:
            yield "name", re.sub(r"\[(\d+)\]", r".\1", name)
    if sections:
        raise PaiError(500, None, f'Unclosed section "{sections[-1]}" at {len(template)}')


def _lookup(context: dict[str, Any], name: str) -> Any:
    value: Any = context
    for part in name.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _MISSING
    return value


def js_text(value: Any) -> str:
    """A value as JavaScript writes it into a string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    if isinstance(value, list):
        return ",".join(js_text(item) for item in value)
    return "[object Object]" if isinstance(value, dict) else str(value)


def render(template: str, context: dict[str, Any]) -> str:
    """Render as the server does: names that resolve to nothing stay as tags, the whole is trimmed."""
    parts: list[str] = []
    for kind, value in _tokens(template):
        if kind == "text":
            parts.append(value)
            continue
        found = _lookup(context, value)
        parts.append(f"<% {value} %>" if found is _MISSING or found is None else js_text(found))
    return "".join(parts).strip()


def render_secrets(template: str, secrets: dict[str, Any] | None) -> str:
    """Render ``$secrets`` as the runtime does in the container.

    Without secrets the text is left alone. With secrets every other tag becomes empty, and values are HTML-escaped
    because the runtime renders with pystache's default escape: a secret with ``&`` or ``<`` arrives changed.
    """
    if not secrets:
        return template
    parts: list[str] = []
    for kind, value in _tokens(template):
        found = _lookup({"$secrets": secrets}, value) if kind == "name" else value
        if kind == "name":
            parts.append("" if found is _MISSING or found is None else html.escape(js_text(found)))
        else:
            parts.append(value)
    return "".join(parts)
