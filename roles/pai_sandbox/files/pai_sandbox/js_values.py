"""Query values and path parts as JavaScript takes them."""

from __future__ import annotations

import math
import re

from fastapi import Request

from .errors import PaiError

_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_PREFIXED = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)", re.ASCII)


def number_of(text: str) -> float:
    """``Number(text)``: NaN for what is not a number, 0 for blanks."""
    text = text.strip()
    if not text:
        return 0.0
    if _PREFIXED.fullmatch(text):
        return float(int(text, 0))
    if text in ("Infinity", "+Infinity", "-Infinity"):
        return math.inf if text[0] != "-" else -math.inf
    return float(text) if _DECIMAL.fullmatch(text) else math.nan


def whole_of(text: str) -> int | None:
    """``parseInt(text)``: the whole number that a text begins with, None for none."""
    found = re.match(r"\s*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(\d+))", text, re.ASCII)
    if not found:
        return None
    sign, sixteen, ten = found.groups()
    # Longer numbers are beyond what any use of it takes.
    number = int(sixteen, 16) if sixteen else int(ten[:40])
    return -number if sign == "-" else number


def shown_number(number: float) -> str:
    """A number as a template string writes it."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return str(int(number)) if number == int(number) and abs(number) < 1e21 else repr(number)


def only(request: Request, name: str) -> str | None:
    """A query value that stands once; None for none and for several."""
    values = request.query_params.getlist(name)
    return values[0] if len(values) == 1 else None


def joined(request: Request, name: str) -> str | None:
    """A query value as text: several are joined by commas, as JavaScript turns a list into text."""
    values = request.query_params.getlist(name)
    return ",".join(values) if values else None


def words(request: Request, name: str) -> list[str] | None:
    """A comma list; the server's code trips over a parameter that stands twice."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise PaiError(500, None, f"req.query.{name}.split is not a function")
    return values[0].split(",") if values else None
