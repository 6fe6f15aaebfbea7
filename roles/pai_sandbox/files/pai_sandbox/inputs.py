"""Checks of small request bodies, with the sentences of joi 13."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .errors import invalid_parameters

USER_NAME = re.compile(r"[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class Field:
    """One allowed key of a body; ``problem`` returns what is wrong with a value, or None."""

    name: str
    problem: Callable[[str, Any], str | None]
    required: bool = True


def text(
    pattern: re.Pattern[str] | None = None, pattern_name: str = "", shortest: int = 0, empty: bool = False
) -> Callable[[str, Any], str | None]:
    """A check for a string."""

    def problem(name: str, value: Any) -> str | None:
        if not isinstance(value, str):
            return f'"{name}" must be a string'
        if not value and not empty:
            return f'"{name}" is not allowed to be empty'
        if len(value) < shortest:
            return f'"{name}" length must be at least {shortest} characters long'
        if pattern and not pattern.fullmatch(value):
            return f'"{name}" with value "{value}" fails to match the {pattern_name} pattern'
        return None

    return problem


def email(pattern: re.Pattern[str]) -> Callable[[str, Any], str | None]:
    """A check for a mail address; empty text counts as none given."""

    def problem(name: str, value: Any) -> str | None:
        if not isinstance(value, str):
            return f'"{name}" must be a string'
        return None if pattern.fullmatch(value) else f'"{name}" must be a valid email'

    return problem


def texts() -> Callable[[str, Any], str | None]:
    """A check for a list of strings."""

    def problem(name: str, value: Any) -> str | None:
        if not isinstance(value, list):
            return f'"{name}" must be an array'
        bad = next((index for index, item in enumerate(value) if not isinstance(item, str) or not item), None)
        return None if bad is None else f'"{name}" at position {bad} fails because ["{bad}" must be a string]'

    return problem


def one_of(*allowed: str) -> Callable[[str, Any], str | None]:
    """A check for one of a few words."""

    def problem(name: str, value: Any) -> str | None:
        return None if value in allowed else f'"{name}" must be one of [{", ".join(allowed)}]'

    return problem


def number(least: float, most: float) -> Callable[[str, Any], str | None]:
    """A check for a number in a range."""

    def problem(name: str, value: Any) -> str | None:
        found = _number(value)
        if found is None:
            return f'"{name}" must be a number'
        return _range_problem(name, found, least, most)

    return problem


def _number(value: Any) -> float | None:
    """A number; joi reads digits in a string as one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _range_problem(name: str, found: float, least: float, most: float) -> str | None:
    if found < least:
        return f'"{name}" must be larger than or equal to {least}'
    return f'"{name}" must be less than or equal to {most}' if found > most else None


def whole_number(least: int, most: int) -> Callable[[str, Any], str | None]:
    """A check for a whole number in a range; joi reads digits in a string as a number."""

    def problem(name: str, value: Any) -> str | None:
        found = _number(value)
        if found is None:
            return f'"{name}" must be a number'
        if found != int(found):
            return f'"{name}" must be an integer'
        return _range_problem(name, found, least, most)

    return problem


def kind(python_type: type, word: str) -> Callable[[str, Any], str | None]:
    """A check for a JSON type, for example ``kind(dict, "an object")``."""

    def problem(name: str, value: Any) -> str | None:
        return None if isinstance(value, python_type) else f'"{name}" must be {word}'

    return problem


def check_input(body: Any, fields: list[Field]) -> dict[str, Any]:
    """The body as an object that has only these fields; 400 ``InvalidParametersError`` for the first fault."""
    if isinstance(body, str):
        with suppress(ValueError):
            body = json.loads(body)
    if not isinstance(body, dict):
        raise invalid_parameters('"value" must be an object')
    for field in fields:
        if field.name not in body:
            if field.required:
                raise invalid_parameters(f'child "{field.name}" fails because ["{field.name}" is required]')
            continue
        problem = field.problem(field.name, body[field.name])
        if problem:
            raise invalid_parameters(f'child "{field.name}" fails because [{problem}]')
    known = {field.name for field in fields}
    unknown = [key for key in body if key not in known]
    if unknown:
        raise invalid_parameters(". ".join(f'"{key}" is not allowed' for key in unknown))
    return body
