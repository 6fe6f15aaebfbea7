"""Sandboxes on real sockets: each cluster has a thread, a port and a life of its own, all in one process."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import threading
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .app import create_app
from .context import Server
from .faults import Faults
from .settings import HOST, Settings

log = logging.getLogger("pai_sandbox")

_START_TIMEOUT_S = 30.0


class _Protocol(H11Protocol):
    """HTTP with a way to the connection of a request: ``open_connections`` by both ends' addresses."""

    open_connections: dict[tuple[Any, Any], Any] = {}  # noqa: RUF012 - one for all, on purpose

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.open_connections[self.server, self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.open_connections.pop((self.server, self.client), None)
        super().connection_lost(exc)


def _reset(scope: MutableMapping[str, Any]) -> None:
    """End the connection of a request with a TCP reset."""
    transport = _Protocol.open_connections.get((scope["server"], scope["client"]))
    if transport is None:
        return
    # Without lingering, closing sends a reset instead of a polite end.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Uvicorn(uvicorn.Server):
    """Uvicorn that says when it listens."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets=sockets)
        self._loop = asyncio.get_running_loop()
        self._on_start()

    def die(self) -> None:
        """Refuse and drop all connections at once, then go down."""
        self.should_exit = True
        if self._loop:
            self._loop.call_soon_threadsafe(self._drop)

    def _drop(self) -> None:
        for listener in self.servers:
            listener.close()
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport:
                transport.abort()


class _Cluster:
    """One sandbox that listens."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.server: Server | None = None
        self._faults = Faults(settings.faults_file)
        self._uvicorn: _Uvicorn | None = None
        self._down_s: float | None = None
        self._stopping = threading.Event()
        self._up = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"sandbox {settings.name}", daemon=True)

    def start(self) -> None:
        """Listen; raises what keeps the sandbox from it."""
        self._thread.start()
        self.wait_up()

    def wait_up(self) -> None:
        """Wait until it listens; raises what keeps it from that."""
        if not self._up.wait(_START_TIMEOUT_S) and self._problem is None:
            raise TimeoutError(f"sandbox {self.settings.name} did not come up")
        if self._problem:
            raise self._problem

    def stop(self) -> None:
        """Stop listening; containers go on."""
        self._stopping.set()
        if self._uvicorn:
            self._uvicorn.should_exit = True
        self._thread.join()

    def restart(self, down_s: float) -> None:
        """Go down now and come back after ``down_s``, with the same memory and fresh rate limits."""
        self._up.clear()
        self._down_s = down_s
        if self._uvicorn:
            self._uvicorn.die()

    def _listen(self) -> socket.socket:
        # asyncio sends at once (TCP_NODELAY) only on sockets that name their protocol; otherwise each answer takes 40 ms more.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, self.settings.port))
        except OSError as error:
            listener.close()
            raise ValueError(f"sandbox {self.settings.name}: port {self.settings.port} of {HOST} is in use") from error
        return listener

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._down_s = None
                self._serve()
                if self._down_s is not None:
                    self._stopping.wait(self._down_s)
        except BaseException as error:
            self._problem = error
        finally:
            self._up.set()

    def _serve(self) -> None:
        listener = self._listen()
        app = create_app(self.settings, self._faults, _reset, self.restart)
        self.server = app.state.server
        # The access log of uvicorn is off: a token may stand in a path. Forwarded addresses are ours to read.
        config = uvicorn.Config(
            app,
            http=_Protocol,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
            ssl_certfile=self.settings.tls_cert,
            ssl_keyfile=self.settings.tls_key,
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
        )
        self._uvicorn = _Uvicorn(config, self._up.set)
        if self._stopping.is_set():
            self._uvicorn.should_exit = True
        self._uvicorn.run(sockets=[listener])


class Sandboxes:
    """Several sandboxes, for ``with``; inside all of them listen."""

    def __init__(self, settings: list[Settings]) -> None:
        self._clusters = {one.name: _Cluster(one) for one in settings}

    def __enter__(self) -> Sandboxes:
        """Start all; raises ``ValueError`` with a sentence for a bad users file or a port in use."""
        started: list[_Cluster] = []
        try:
            for cluster in self._clusters.values():
                cluster.start()
                started.append(cluster)
        except BaseException:
            for cluster in started:
                cluster.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop all; containers go on."""
        for cluster in self._clusters.values():
            cluster.stop()

    def url(self, name: str) -> str:
        """Address of a sandbox, without the proxy's prefix."""
        settings = self._clusters[name].settings
        return f"{'https' if settings.tls_cert else 'http'}://{HOST}:{settings.port}"

    def server(self, name: str) -> Server:
        """The parts of a running sandbox."""
        found = self._clusters[name].server
        if found is None:
            raise RuntimeError(f"sandbox {name} is not up")
        return found

    def restart(self, name: str, down_s: float = 0.0) -> None:
        """Take one down for ``down_s`` and bring it back; returns when it listens again."""
        self._clusters[name].restart(down_s)
        self._clusters[name].wait_up()
