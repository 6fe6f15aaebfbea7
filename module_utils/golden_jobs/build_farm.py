"""Which build server builds which course: the same one every time, so that its caches stay warm.

Each pair of course and server has a number that follows from their names alone, and the highest one wins (rendezvous hashing; with weights:
Schindelhauer and Schomaker 2005). A server that comes or goes moves only the courses that it gets or had.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from .amount import amount
from .errors import GoldenJobsError


def choose(course: str, servers: Iterable[str], weights: Mapping[str, Any] | None = None, down: Iterable[str] = ()) -> str:
    """The server for a course, of those that are not down. `weights`: 1 for what is not named, 0 for a server that gets nothing."""
    servers, down = list(servers), set(down)
    if not servers:
        raise GoldenJobsError("The inventory has no build server: add a host to the group build_servers.")
    numbers = {server: _weight(server, (weights or {}).get(server, 1)) for server in servers}
    able = [server for server in servers if server not in down and numbers[server] > 0]
    if not able:
        raise GoldenJobsError(f"No build server can build {course}: {', '.join(servers)} do not answer, or have the weight 0.")
    return max(able, key=lambda server: (_score(course, server, numbers[server]), server))


def _weight(server: str, value: Any) -> float:
    number = amount(value)
    if number is None:
        raise GoldenJobsError(f"build_server_weight of {server} is {value!r}: a number, 0 or more.")
    return number


def _score(course: str, server: str, weight: float) -> float:
    digest = hashlib.sha256(f"{course}\0{server}".encode()).digest()
    return -weight / math.log((int.from_bytes(digest[:8], "big") + 0.5) / 2**64)
