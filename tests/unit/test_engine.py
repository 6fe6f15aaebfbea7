"""The engine's answers, as a socket delivers them."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from ansible.module_utils.golden_jobs.engine import Engine

_HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"


def _frame(text: bytes) -> bytes:
    """Output as the engine sends it: stream 1, its length, its bytes."""
    return struct.pack(">BxxxL", 1, len(text)) + text


@pytest.fixture
def engine_in_one_packet() -> Iterator[str]:
    """Address of an engine whose answer to an exec comes in one packet with its headers, as a busy machine makes it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        version = b'{"ApiVersion": "1.41"}'
        for body in (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(version)
            + version,
            _HEADERS + _frame(b"first\n") + _frame(b"last\n"),
        ):
            connection, _peer = listener.accept()
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(65536)
                connection.sendall(body)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):  # until the client has read it and closed: a close before would reset the connection
                    pass

    threading.Thread(target=answer, daemon=True).start()
    with listener:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def test_no_output_of_a_command_is_lost_when_it_comes_with_the_headers(engine_in_one_packet: str):
    engine = Engine({"docker_host": engine_in_one_packet, "timeout_s": 10}, "registry")
    assert b"".join(engine.api.exec_output("id")) == b"first\nlast\n"
