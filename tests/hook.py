"""A webhook on loopback that remembers what it is told."""

from __future__ import annotations

import http.server
import json
import threading
from types import TracebackType
from typing import Any


class Hook:
    """`heard`: path with query, and body, of each POST. A context manager.

    `status` and `answer` are what it says; with `piece_s` it says it byte by byte, so many seconds apart, and never ends.
    """

    def __init__(self, status: int = 200, answer: bytes = b'{"errcode": 0}', piece_s: float = 0.0) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.status, self.answer, self.piece_s = status, answer, piece_s
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.heard.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                self.send_response(hook.status)
                if hook.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                while hook.piece_s and not hook.closed.wait(hook.piece_s):
                    try:
                        self.wfile.write(b" ")
                        self.wfile.flush()
                    except OSError:
                        return
                self.wfile.write(hook.answer)

            def log_message(self, *_words: Any) -> None:
                pass

        self.closed = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """With a secret, as robots have it."""
        return f"http://127.0.0.1:{self._server.server_port}/robot/send?access_token=t0p-s3cret"

    def __enter__(self) -> Hook:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
