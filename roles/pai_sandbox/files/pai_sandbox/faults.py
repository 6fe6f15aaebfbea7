"""Faults by schedule: what a network, a proxy and a server in trouble do to a request.

The schedule is a YAML file, see ``FIELDS``; it is read again whenever it changes, and all counters then start anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .watched import WatchedFile

log = logging.getLogger("pai_sandbox")

LATENCY, ERROR, TOO_MANY, RESET, EXPIRE, RESTART = "latency", "error", "too-many-requests", "reset", "expire-tokens", "restart"
KINDS = (LATENCY, ERROR, TOO_MANY, RESET, EXPIRE, RESTART)

PREFIX = "/rest-server"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

#: Fields of an entry with their defaults; only ``do`` is required.
FIELDS: dict[str, Any] = {
    "do": None,
    "method": None,  # of the request; None is any
    "path": None,  # a regular expression for the whole path, without the proxy's prefix and without the query
    "skip": 0,  # so many matching requests pass first
    "times": 1,  # so many are hit then; 0 is all
    "chance": 1.0,  # the share of those that is hit
    "seconds": 0.0,  # of a latency, and of the time that a restart takes
    "status": 500,
    "code": None,  # None is an answer without a code
    "message": "fault of the schedule",
    "retry_after_s": 60,
    "committed": False,  # the request is carried out first
}


@dataclass
class Fault:
    """One entry of a schedule with its counter."""

    do: str
    method: str | None
    path: re.Pattern[str] | None
    skip: int
    times: int
    chance: float
    seconds: float
    status: int
    code: str | None
    message: str
    retry_after_s: int
    committed: bool
    seen: int = 0

    def takes(self, method: str, path: str, dice: random.Random) -> bool:
        """Whether this request is hit; counts it."""
        if (self.method and self.method != method) or (self.path and not self.path.fullmatch(path)):
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.times and self.seen > self.skip + self.times):
            return False
        return self.chance >= 1 or dice.random() < self.chance


def without_prefix(path: str) -> str:
    """A path without the proxy's prefix."""
    return path[len(PREFIX) :] or "/" if path == PREFIX or path.startswith(f"{PREFIX}/") else path


def read_schedule(content: dict[str, Any]) -> tuple[list[Fault], random.Random]:
    """The faults of a schedule and the dice for their chances. Raises ``ValueError`` with a sentence."""
    faults: list[Fault] = []
    for number, entry in enumerate(content.get("faults") or [], 1):
        where = f"fault {number}"
        kind = entry.get("do") if isinstance(entry, dict) else entry
        if kind not in KINDS:
            raise ValueError(f"{where}: do is {kind}; allowed: {', '.join(KINDS)}")
        unknown = next((key for key in entry if key not in FIELDS), None)
        if unknown is not None:
            raise ValueError(f"{where}: unknown key {unknown}; allowed: {', '.join(FIELDS)}")
        values = {**FIELDS, **entry}
        try:
            values["path"] = re.compile(values["path"]) if values["path"] is not None else None
        except (re.error, TypeError) as error:
            raise ValueError(f"{where}: path is not a regular expression: {error}") from error
        faults.append(Fault(**values))
    return faults, random.Random(content.get("seed"))  # noqa: S311 - a repeatable sequence is what is wanted


class Faults:
    """The schedule of one sandbox; it outlives the restarts that it asks for."""

    def __init__(self, path: Path | None) -> None:
        self._file = WatchedFile(path)
        self._faults: list[Fault] = []
        self._dice = random.Random()  # noqa: S311
        self._lock = threading.Lock()

    def of(self, method: str, path: str) -> list[Fault]:
        """The faults that hit a request, in the order of the schedule."""
        with self._lock:
            try:
                content = self._file.changed()
                if content is not None:
                    self._faults, self._dice = read_schedule(content)
            except ValueError as error:
                self._faults = []
                log.error("no faults: %s", error)
            return [fault for fault in self._faults if fault.takes(method, path, self._dice)]


@dataclass(frozen=True)
class Hooks:
    """What faults do outside the request: reset its connection (by its scope), expire all login tokens, restart the server."""

    reset: Callable[[MutableMapping[str, Any]], None]
    expire_tokens: Callable[[], None]
    restart: Callable[[float], None]


class FaultInjector:
    """The application with the schedule's faults around it."""

    def __init__(self, app: AsgiApp, faults: Faults, hooks: Hooks) -> None:
        self._app = app
        self._faults = faults
        self._hooks = hooks

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or do what the schedule says instead."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        for fault in self._faults.of(scope["method"], without_prefix(scope["path"])):
            log.info("fault %s hits %s", fault.do, scope["method"])
            if fault.do == LATENCY:
                await asyncio.sleep(fault.seconds)
            elif fault.do == EXPIRE:
                self._hooks.expire_tokens()
            else:
                if fault.committed:
                    await self._app(scope, receive, _lose)
                await self._instead(fault, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _instead(self, fault: Fault, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if fault.do in (RESET, RESTART):
            self._hooks.reset(scope)
            if fault.do == RESTART:
                self._hooks.restart(fault.seconds)
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        if fault.do == TOO_MANY:
            headers = {"content-type": "text/html; charset=utf-8", "retry-after": str(fault.retry_after_s)}
            await _answer(send, 429, headers, "Too many requests, please try again later.")
            return
        body = {"message": fault.message} if fault.code is None else {"code": fault.code, "message": fault.message}
        await _answer(send, fault.status, {"content-type": "application/json; charset=utf-8"}, json.dumps(body))


async def _lose(message: Message) -> None:
    """Where the answer of a request goes that is carried out and not answered."""


async def _answer(send: Send, status: int, headers: dict[str, str], body: str) -> None:
    raw = [(name.encode(), value.encode()) for name, value in {**headers, "content-length": str(len(body.encode()))}.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body.encode()})
