"""Numbers that users give for how much or how long."""

from __future__ import annotations

import contextlib
import math
from typing import Any


def amount(value: Any) -> float | None:
    """`value` as a number, 0 or more and not infinite; None for what is none."""
    with contextlib.suppress(TypeError, ValueError):
        number = float(value)
        return number if 0 <= number < math.inf else None
    return None
