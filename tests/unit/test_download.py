"""Files by URL: kept, resumed, proven. A real HTTP server that can break off."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import download, retry
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress

CONTENT = bytes(range(256)) * 8192  # 2 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT with ranges. `breaks`: so many answers end in the middle; `status`: what it answers instead."""

    daemon_threads = True
    breaks = 0
    status = 200
    content = CONTENT

    def __init__(self) -> None:
        self.ranges: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        first = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1)) if wanted else 0  # type: ignore[union-attr]
        if first >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[first:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(self.server.content) - 1}/{len(self.server.content)}")
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def fetch(server: Server, cache: Path, sha256: str = SHA256) -> Path:
    url = f"http://127.0.0.1:{server.server_port}/set.bin?sig=geheim"
    item = {"path": "data/set.bin", "url": url, "sha256": sha256, "headers": {}, "written": "inventory/courses.yml:9"}
    download.check(item)
    return Path(download.fetch(item, str(cache), 60, Progress(None)))


def test_a_second_run_fetches_nothing(server: Server, tmp_path: Path):
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server: Server, tmp_path: Path):
    server.breaks = 1
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_the_next_run_goes_on_with_what_an_interrupted_one_has_fetched(server: Server, tmp_path: Path):
    part = tmp_path / "downloads" / SHA256 / "part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_beginning_of_another_file_is_fetched_again_from_its_start(server: Server, tmp_path: Path):
    part = tmp_path / "downloads" / SHA256 / "part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_a_cached_file_that_is_damaged_is_fetched_again(server: Server, tmp_path: Path):
    cached = fetch(server, tmp_path)
    cached.write_bytes(b"damaged")
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_another_checksum_is_one_sentence_with_its_place_and_leaves_nothing(server: Server, tmp_path: Path):
    with pytest.raises(GoldenJobsError, match=rf"its sha256 is {SHA256}, not 0+ \(inventory/courses\.yml:9\)\.$") as failure:
        fetch(server, tmp_path, "0" * 64)
    assert "geheim" not in str(failure.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"]


def test_a_file_that_is_not_there_is_not_asked_for_twice(server: Server, tmp_path: Path):
    server.status = 404
    with pytest.raises(GoldenJobsError, match=r"set\.bin answers 404, so data/set\.bin cannot be had \(inventory"):
        fetch(server, tmp_path)
    assert len(server.ranges) == 1


def test_a_server_that_is_busy_is_asked_again_and_then_given_up(server: Server, tmp_path: Path):
    server.status = 503
    with pytest.raises(GoldenJobsError, match=r"answers 503; given up after 5 attempts"):
        fetch(server, tmp_path)
    assert len(server.ranges) == 5


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"url": "ftp://example.com/x"}, "not allowed: http, https or file"),
        ({"url": "https://me:geheim@example.com/x"}, "holds a password"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
    ],
)
def test_bad_entries_are_refused(change: dict[str, str], sentence: str):
    item = {"path": "data/x", "url": "https://example.com/x", "sha256": "0" * 64, "headers": {}, "written": "", **change}
    with pytest.raises(GoldenJobsError, match=sentence) as failure:
        download.check(item)
    assert "geheim" not in str(failure.value)
