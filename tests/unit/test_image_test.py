"""What image_test decides without an engine: which checks are well written, what looks like a secret, whose container is left over."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import image_check_http, image_check_port, image_checks, image_leftovers, process_identity
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

from tests.support import wait_for


def check(**options: Any) -> dict[str, Any]:
    return {**dict.fromkeys(image_checks.CHECK_SPEC), "name": "it", "timeout_s": 60, **options}


@pytest.mark.parametrize(
    "options",
    [
        {"http": "/", "status": 404, "header": {"Server": "x"}, "contains": "a", "not_contains": "b", "sha256": "0" * 64, "same_as": "/x"},
        {"command": "true", "rc": 3, "output": "^x$", "contains": "a", "not_contains": "b", "as_user": "bob", "needs_server": False},
        {"file": "/x", "exists": True, "owner": "bob:users", "mode": "0644", "sha256": "F" * 64, "same_as": "/x"},
        {"file": "/x", "exists": False},
        {"file": "/system", "mode": "04755", "owner": "1000:100"},
        {"log_without": "^E"},
        {"port": 22},
        {"user": "bob"},
        {"not_root": True},
        {"label": {"course": "^OOB3$", "any": None}},
        {"env_without_secret": True, "allow": ["GPG_KEY"]},
        {"env_without_secret": False, "command": "true"},
    ],
)
def test_a_well_written_check_is_taken(options: dict[str, Any]):
    image_checks.validate([check(**options)], 8888)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs exactly one of http, command, file, log_without, port, user, not_root, label and env_without_secret."),
        ({"http": "/", "command": "true"}, "and has http, command"),
        ({"not_root": False}, "needs exactly one of"),
        ({"command": ""}, "empty command"),
        ({"label": {}}, "empty label"),
        ({"command": "true", "status": 200}, "has status, which does not go with command: allowed are contains"),
        ({"log_without": "x", "contains": "x"}, "nothing does"),
        ({"http": "/", "needs_server": False}, "has needs_server, which does not go with http"),
        ({"http": "index.html"}, "a path begins with /"),
        ({"http": "/", "sha256": "abc"}, "64 hexadecimal digits"),
        ({"http": "/", "header": {"Server": "("}}, "no regular expression"),
        ({"log_without": "["}, "no regular expression"),
        ({"command": "true", "output": "*"}, "no regular expression"),
        ({"label": {"a": "("}}, "no regular expression"),
        ({"port": 0}, "1 to 65535"),
        ({"file": "etc"}, "begins with /"),
        ({"file": "/proc/1/status"}, "use a command"),
        ({"file": "/x", "mode": "420"}, "leading 0 in quotes"),
        ({"file": "/x", "owner": "a:b:c"}, "a name or uid"),
        ({"file": "/x", "exists": False, "mode": "0644"}, "one of both"),
        ({"user": "bob", "timeout_s": 0}, "at least 1 second"),
    ],
)
def test_a_check_that_cannot_be_run_as_written_is_refused_in_one_sentence(options: dict[str, Any], says: str):
    with pytest.raises(GoldenJobsError) as refused:
        image_checks.validate([check(**options)], 8888)
    assert says in str(refused.value)
    assert str(refused.value).startswith("The check 'it' ")
    assert "\n" not in str(refused.value)


def test_an_http_check_needs_a_port():
    with pytest.raises(GoldenJobsError, match="port is 0"):
        image_checks.validate([check(http="/")], 0)


def test_lines_of_the_table_stand_in_columns():
    checks = [check(name="short", http="/"), check(name="a longer name", log_without="x")]
    rows = [
        {"name": "short", "kind": "http", "passed": True, "detail": "as expected", "duration_s": 0.02},
        {"name": "a longer name", "kind": "log_without", "passed": False, "detail": "the log has 'x'", "duration_s": 12.0},
    ]
    assert [image_checks.line(row, checks) for row in rows] == [
        "ok      short          http           0.0 s",
        "FAILED  a longer name  log_without     12 s  the log has 'x'",
    ]


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process and its identity."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from golden_jobs import process_identity\nprint(process_identity.identity(), flush=True)\ntime.sleep(600)"
    )
    module_utils = os.path.dirname(os.path.dirname(process_identity.__file__))
    process = subprocess.Popen([sys.executable, "-c", code, module_utils], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()


def test_a_process_is_alive_until_it_is_killed_also_while_nobody_has_waited_for_it(other: tuple[subprocess.Popen[str], str]):
    process, identity = other
    assert process_identity.is_alive(identity) is True
    process.send_signal(signal.SIGKILL)
    wait_for(lambda: process_identity.is_alive(identity) is False)
    process.wait()
    assert process_identity.is_alive(identity) is False


def test_another_process_with_the_same_pid_is_not_taken_for_the_owner():
    boot, namespace, pid, start = process_identity.identity().split()
    assert process_identity.is_alive(f"{boot} {namespace} {pid} {start}") is True
    assert process_identity.is_alive(f"{boot} {namespace} {pid} {int(start) - 1}") is False


@pytest.mark.parametrize("place", ["boot", "namespace"])
def test_nothing_is_known_of_a_process_of_another_boot_or_container(place: str):
    words = process_identity.identity().split()
    words[("boot", "namespace").index(place)] = "another"
    assert process_identity.is_alive(" ".join(words)) is None


@pytest.mark.parametrize("owner", ["", "x", "a b c d"])
def test_nothing_is_known_of_a_process_without_an_identity(owner: str):
    assert process_identity.is_alive(owner) is None


def test_the_container_of_a_live_run_is_nobodys_to_remove():
    assert not image_leftovers.is_left_over(image_leftovers.labels("x", -1e9))


@pytest.mark.parametrize(("until", "left_over"), [(-60, True), (60, False)])
def test_the_container_of_an_unknown_process_is_left_over_when_its_time_is_over(until: int, left_over: bool):
    marked = {image_leftovers.OWNER_LABEL: "another-boot n 1 1", image_leftovers.UNTIL_LABEL: str(int(time.time()) + until)}
    assert image_leftovers.is_left_over(marked) is left_over


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/page")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Kind", "page")
        self.end_headers()
        while self.path == "/drips":
            self.wfile.write(b".")
            self.wfile.flush()
            time.sleep(0.05)
        self.wfile.write(b"our page")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_redirects_are_followed_unless_one_is_expected(address: str):
    assert image_check_http.problem(address, check(http="/moved", contains="our page")) is None
    assert image_check_http.problem(address, check(http="/moved", status=302, header={"location": "^/page$"})) is None


def test_an_answer_that_comes_byte_by_byte_has_the_same_deadline(address: str):
    assert image_check_http.problem(address, check(http="/drips", timeout_s=1)) == "/drips gives no answer (no complete answer within 1 s)"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"status": 404}, "answers 200 instead of 404"),
        ({"header": {"X-Kind": "^image"}}, "has the header X-Kind: 'page', which does not match '^image'"),
        ({"header": {"X-None": ""}}, "has no header X-None"),
        ({"contains": "their page"}, "does not contain 'their page'"),
        ({"not_contains": "our"}, "contains 'our'"),
        ({"sha256": "0" * 64}, "serves other bytes"),
    ],
)
def test_an_http_check_says_what_is_wrong(address: str, options: dict[str, Any], says: str):
    assert says in str(image_check_http.problem(address, check(http="/page", **options)))


def test_a_server_that_is_not_there_is_a_failed_check():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert image_check_http.problem(address, check(http="/")) == "/ gives no answer (the connection was refused or dropped)"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def serve(listener: socket.socket, do: Callable[[socket.socket], Any]) -> None:
    """Hand the first connection over."""

    def accept() -> None:
        do(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()


def test_a_port_whose_connections_end_at_once_does_not_answer(listener: socket.socket):
    serve(listener, lambda connection: connection.close())
    assert not image_check_port.answers(listener.getsockname()[1], 5)


def test_a_silent_server_answers(listener: socket.socket):
    kept: list[socket.socket] = []
    serve(listener, kept.append)
    assert image_check_port.answers(listener.getsockname()[1], 5)


def test_a_server_that_greets_answers(listener: socket.socket):
    serve(listener, lambda connection: connection.sendall(b"SSH-2.0"))
    assert image_check_port.answers(listener.getsockname()[1], 5)


def test_a_closed_port_does_not_answer():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert not image_check_port.answers(free.getsockname()[1], 5)
