"""Faults between an engine and a registry, or between a module and an engine, on loopback.

`FaultProxy` stands in front of a registry and forwards HTTP requests, except those for which a fault was ordered.
`Relay` stands in front of the engine's socket and forwards bytes until it is cut.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import math
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization"}
_PIECE = 64 * 1024


@dataclass
class Request:
    """One request as the proxy saw it. `status` is 0 when the connection was cut instead of an answer."""

    at: float
    method: str
    path: str
    agent: str
    authorization: str | None
    status: int = 0
    body_bytes: int = 0


@dataclass
class Fault:
    """What happens to the requests `method path` that match `pattern`, `times` times (None: for ever).

    They are answered with `status`, or cut after so many bytes of their body, or passed on with `pattern` in their path
    replaced by `rewrite`. With `seconds` each turn lasts that long and is for every request, as a rate limit is.
    """

    pattern: str
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    times: int | None = None
    cut_after_bytes: int | None = None
    rewrite: str | None = None
    seconds: float | None = None
    seen: list[float] = field(default_factory=list)
    _until: float = 0.0

    def applies(self, request: Request) -> bool:
        """Whether it is this request's turn."""
        if self.seconds is not None and request.at < self._until:
            return True
        if (self.times is not None and len(self.seen) >= self.times) or not re.search(self.pattern, f"{request.method} {request.path}"):
            return False
        self.seen.append(request.at)
        self._until = request.at + (self.seconds or 0.0)
        return True

    def answer_headers(self, request: Request) -> dict[str, str]:
        left = {"Retry-After": str(math.ceil(self._until - request.at))} if self.seconds is not None else {}
        return {**left, **self.headers}


class FaultProxy:
    """An HTTP proxy in front of `target` (`host:port`) that logs requests and does what `faults` say.

    `rate_bytes_s` limits each request's body, so that an upload lasts as long as a test needs it to.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        #: Those that are being served now.
        self.open_requests: list[Request] = []
        self.rate_bytes_s: float | None = None
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def fault(self, pattern: str, **what: Any) -> Fault:
        """Order a fault; the returned object knows when it happened."""
        self.faults.append(Fault(pattern, **what))
        return self.faults[-1]

    def requests(self, pattern: str) -> list[Request]:
        return [one for one in list(self.log) if re.search(pattern, f"{one.method} {one.path}")]

    def body_bytes(self) -> int:
        """Bytes of request bodies that came through so far."""
        return sum(one.body_bytes for one in list(self.log))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def fault_for(self, request: Request) -> Fault | None:
        with self._lock:
            return next((one for one in self.faults if one.applies(request)), None)


def _handler(proxy: FaultProxy) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _forward(self) -> None:
            head = self.headers
            request = Request(time.monotonic(), self.command, self.path, head.get("User-Agent", ""), head.get("Authorization"))
            proxy.log.append(request)
            fault = proxy.fault_for(request)
            proxy.open_requests.append(request)
            try:
                if fault is None or fault.rewrite:
                    self._pass_on(
                        request, re.sub(fault.pattern.partition(" ")[2], fault.rewrite, self.path) if fault and fault.rewrite else self.path
                    )
                elif fault.cut_after_bytes is not None:
                    for _ in self._body(request):
                        if request.body_bytes >= fault.cut_after_bytes:
                            break
                    self._cut()
                else:
                    self._answer(request, fault)
            except (OSError, http.client.HTTPException, ValueError):
                self._cut()
            finally:
                proxy.open_requests.remove(request)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _forward

        def _body(self, request: Request) -> Iterator[bytes]:
            """The request's body in pieces, at the proxy's rate."""
            started = time.monotonic()
            for piece in self._chunked() if "chunked" in self.headers.get("Transfer-Encoding", "") else self._plain():
                request.body_bytes += len(piece)
                if proxy.rate_bytes_s:
                    time.sleep(max(0.0, request.body_bytes / proxy.rate_bytes_s - (time.monotonic() - started)))
                yield piece

        def _plain(self) -> Iterator[bytes]:
            left = int(self.headers.get("Content-Length") or 0)
            while left and (piece := self.rfile.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece

        def _chunked(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def _pass_on(self, request: Request, path: str) -> None:
            onward = http.client.HTTPConnection(proxy.target, timeout=60)
            try:
                onward.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():  # engines repeat Accept: each of them counts
                    if name.lower() not in _HOP_BY_HOP:
                        onward.putheader(name, value)
                chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
                if chunked:
                    onward.putheader("Transfer-Encoding", "chunked")
                onward.endheaders(self._body(request), encode_chunked=chunked)
                answer = onward.getresponse()
                request.status = answer.status
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP_BY_HOP:
                        self.send_header(name, value)
                content = b"" if self.command == "HEAD" else answer.read()
                if answer.getheader("Content-Length") is None and self.command != "HEAD":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            finally:
                onward.close()

        def _answer(self, request: Request, fault: Fault) -> None:
            for _ in self._body(request):
                pass
            request.status = fault.status
            content = json.dumps(fault.body).encode() if fault.body is not None else b""
            self.send_response_only(fault.status)
            for name, value in {"Content-Type": "application/json", **fault.answer_headers(request)}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _cut(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    return Handler


class Relay:
    """A TCP port in front of a unix socket. After `cut()` every connection is gone and no new one is taken."""

    def __init__(self, unix_socket: str) -> None:
        self._target = unix_socket
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def cut(self) -> None:
        for one in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._accepting.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
