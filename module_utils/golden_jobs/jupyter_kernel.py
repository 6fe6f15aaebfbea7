"""Asks a Jupyter server for a kernel and has it compute something, the way the browser does: REST, then a WebSocket."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import socket
import ssl
import struct
import time
import urllib.parse
import uuid
from typing import Any

from .errors import GoldenJobsError

try:
    import requests
except ImportError:  # `pai_session` says in one sentence what is missing
    requests = None  # type: ignore[assignment]

#: What the kernel is asked for; any language kernel that cannot compute it can be given other code.
CODE, EXPECTED = "print(6 * 7)", "42"
_MOST_BYTES = 16 << 20
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class KernelTrouble(Exception):
    """`asked`: whether the kernel could be asked; then it is the kernel's fault."""

    def __init__(self, message: str, *, asked: bool) -> None:
        super().__init__(message)
        self.asked = asked


def kernel_answers(base_url: str, kernel: str = "", code: str = CODE, expected: str = EXPECTED, timeout_s: float = 30.0) -> None:
    """Start a kernel (the server's default without a name), run `code`, look for `expected` in what it prints, end it.

    Raises KernelTrouble.
    """
    if requests is None:
        raise GoldenJobsError("The Python package requests is missing where this module runs: pip install requests.")
    deadline = time.monotonic() + timeout_s
    # A server without a token wants Tornado's double-submit cookie; its value is the client's to choose.
    xsrf = secrets.token_hex(16)
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update({"Cookie": f"_xsrf={xsrf}", "X-XSRFToken": xsrf})
        answer = _send(session, "POST", f"{base_url}/api/kernels", timeout_s, json={"name": kernel} if kernel else {})
        if answer.status_code != 201:
            raise KernelTrouble(f"no kernel {kernel or '(default)'} starts: HTTP {answer.status_code}", asked=answer.status_code < 500)
        url = f"{base_url}/api/kernels/{answer.json()['id']}"
        try:
            printed = _run(url, f"_xsrf={xsrf}", code, deadline)
        finally:
            with contextlib.suppress(KernelTrouble):
                _send(session, "DELETE", url, 10.0)
    if expected not in printed:
        raise KernelTrouble(f"the kernel answers {printed.strip()[:80]!r} to {code!r} instead of {expected!r}", asked=True)


def _send(session: Any, method: str, url: str, timeout_s: float, **options: Any) -> Any:
    try:
        return session.request(method, url, timeout=timeout_s, **options)
    except requests.RequestException as error:
        raise KernelTrouble(f"no answer from {url}: {type(error).__name__}", asked=False) from None


def _run(url: str, cookie: str, code: str, deadline: float) -> str:
    """What the kernel prints."""
    session_id = uuid.uuid4().hex
    request = {
        "header": {"msg_id": uuid.uuid4().hex, "username": "probe", "session": session_id, "msg_type": "execute_request", "version": "5.3"},
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False},
        "channel": "shell",
        "buffers": [],
    }
    printed, replied, idle = "", False, False
    with _WebSocket(f"{url}/channels?session_id={session_id}", cookie, deadline) as channel:
        channel.send(_TEXT, json.dumps(request).encode())
        while not (replied and idle):
            message = channel.receive()
            if (message.get("parent_header") or {}).get("msg_id") != request["header"]["msg_id"]:  # type: ignore[index]
                continue
            kind, content = message.get("msg_type") or message["header"]["msg_type"], message.get("content") or {}
            if kind == "stream":
                printed += content.get("text", "")
            elif kind == "error":
                raise KernelTrouble(f"the kernel fails at {code!r}: {content.get('ename')}: {content.get('evalue')}", asked=True)
            elif kind == "execute_reply":
                replied = True
            elif kind == "status":
                idle = idle or content.get("execution_state") == "idle"
    return printed


class _WebSocket:
    """A client's side of RFC 6455, text messages only, as much of it as Jupyter's channels need."""

    def __init__(self, url: str, cookie: str, deadline: float) -> None:
        parts = urllib.parse.urlsplit(url)
        self._deadline = deadline
        self._buffer = b""
        try:
            self._socket = socket.create_connection(
                (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)), self._left_s()
            )
            if parts.scheme == "https":
                self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=parts.hostname)
            self._socket.sendall(
                f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
                f"Cookie: {cookie}\r\n\r\n".encode()
            )
        except OSError as error:
            raise KernelTrouble(f"the kernel's channel cannot be opened ({error})", asked=False) from None
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _empty, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status = head.split(b"\r\n")[0].decode(errors="replace")
        if " 101 " not in status + " ":
            raise KernelTrouble(f"the kernel's channel is refused ({status})", asked=False)

    def __enter__(self) -> _WebSocket:
        return self

    def __exit__(self, *_reason: object) -> None:
        with contextlib.suppress(OSError):
            self.send(_CLOSE, b"")
        self._socket.close()

    def send(self, kind: int, payload: bytes) -> None:
        """One unfragmented message, masked as clients have to."""
        size = len(payload)
        length = (
            struct.pack("!B", 0x80 | size)
            if size < 126
            else struct.pack("!BH", 0x80 | 126, size)
            if size < 1 << 16
            else struct.pack("!BQ", 0x80 | 127, size)
        )
        mask = os.urandom(4)
        self._socket.sendall(bytes([0x80 | kind]) + length + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)))

    def receive(self) -> dict[str, Any]:
        """The next message that is a JSON object; pings are answered on the way."""
        whole = b""
        while True:
            first, second = self._take(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", self._take(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self._take(8))
            if size > _MOST_BYTES:
                raise KernelTrouble("the kernel answers with too much", asked=True)
            payload = self._take(size)
            kind = first & 0x0F
            if kind == _PING:
                self.send(_PONG, payload)
            elif kind == _CLOSE:
                raise KernelTrouble("the server closes the kernel's channel", asked=True)
            elif kind != _PONG:
                whole += payload
                if first & 0x80:
                    with contextlib.suppress(ValueError):
                        message = json.loads(whole)
                        if isinstance(message, dict):
                            return message
                    whole = b""

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _more(self) -> None:
        try:
            self._socket.settimeout(self._left_s())
            data = self._socket.recv(1 << 16)
        except OSError as error:
            raise KernelTrouble(f"the kernel does not answer in time ({error})", asked=True) from None
        if not data:
            raise KernelTrouble("the server closes the kernel's channel", asked=True)
        self._buffer += data

    def _left_s(self) -> float:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise KernelTrouble("the kernel does not answer in time", asked=True)
        return left_s
