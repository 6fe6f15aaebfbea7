"""A private repository: the token reaches git, and nothing else. A real server that wants a password."""

from __future__ import annotations

import base64
import functools
import getpass
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import git_source
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress

from tests.sshd import Sshd

TOKEN = "geheim-0123456789"
LOGIN = "Basic " + base64.b64encode(f"reader:{TOKEN}".encode()).decode()


class Handler(SimpleHTTPRequestHandler):
    """Serves a bare repository as files, to who knows the token; notes command lines that show it."""

    seen_in: list[str] = []  # noqa: RUF012 - shared by all requests on purpose

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != LOGIN:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if TOKEN.encode() in process.read_bytes():
                    self.seen_in.append(str(process))
            except OSError:
                continue
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    work, bare = tmp_path / "work", tmp_path / "served" / "course.git"
    who = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
    (work / "a.ipynb").write_text("{}")
    subprocess.run(["git", "-C", str(work), "add", "-A"], check=True)
    subprocess.run(["git", "-C", str(work), *who, "commit", "-qm", "first"], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    subprocess.run(["git", "-C", str(bare), "update-server-info"], check=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/course.git"
    server.shutdown()
    server.server_close()


def source(repository: str, **change: Any) -> dict[str, Any]:
    plain = {"deploy_key": None, "known_hosts": None, "username": "reader", "token": None, "written": "inventory/x.yml:3"}
    return {**plain, "path": "courseware", "repository": repository, "version": "main", **change}


def check_out(tmp_path: Path, entry: dict[str, Any]) -> str:
    git_source.check(entry)
    (tmp_path / "context").mkdir(exist_ok=True)
    return git_source.check_out(entry, str(tmp_path / "context"), str(tmp_path / "cache"), 60, Progress(None))


def test_a_token_opens_the_repository_and_stays_nowhere(tmp_path: Path, address: str):
    Handler.seen_in.clear()
    check_out(tmp_path, source(address, token=TOKEN))
    assert (tmp_path / "context" / "courseware" / "a.ipynb").read_text() == "{}"
    assert Handler.seen_in == []
    for folder in (tmp_path / "context", tmp_path / "cache"):
        assert not [path for path in folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    memory = Path("/dev/shm")
    assert not [path for path in memory.glob("golden-jobs-git-*") if path.stat().st_uid == os.geteuid()]


@pytest.mark.parametrize("token", [None, "wrong-token-0123"])
def test_without_the_right_token_it_is_one_sentence_without_it(tmp_path: Path, address: str, token: str | None):
    with pytest.raises(GoldenJobsError, match=r"cannot be had: .* \(inventory/x\.yml:3\)\.$") as failure:
        check_out(tmp_path, source(address, token=token))
    assert "\n" not in str(failure.value)
    assert token is None or token not in str(failure.value)


@pytest.mark.parametrize(
    ("repository", "change", "sentence"),
    [
        ("git@example.com:x.git", {"token": TOKEN}, "needs an https address"),
        ("https://example.com/x.git", {"deploy_key": "key"}, "needs an ssh address"),
    ],
)
def test_a_login_that_does_not_go_with_the_address_is_refused(tmp_path: Path, repository: str, change: dict[str, str], sentence: str):
    with pytest.raises(GoldenJobsError, match=sentence):
        check_out(tmp_path, source(repository, **change))


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Sshd]:
    folder = tmp_path / "ssh"
    folder.mkdir()
    running = Sshd.start(folder)
    yield running
    assert running.process is not None
    running.process.terminate()
    running.process.wait()


def test_a_deploy_key_opens_the_repository_and_stays_nowhere(tmp_path: Path, address: str, ssh: Sshd):
    key = (ssh.folder / "login_key").read_text()
    repository = f"ssh://{getpass.getuser()}@127.0.0.1:{ssh.port}{tmp_path}/served/course.git"
    check_out(tmp_path, source(repository, deploy_key=key, known_hosts=(ssh.folder / "known_hosts").read_text()))
    assert (tmp_path / "context" / "courseware" / "a.ipynb").read_text() == "{}"
    secret = key.splitlines()[1].encode()
    for folder in (tmp_path / "context", tmp_path / "cache"):
        assert not [path for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_a_host_with_another_key_than_the_pinned_one_is_refused(tmp_path: Path, address: str, ssh: Sshd):
    other = (ssh.folder / "login_key.pub").read_text().split()[1]
    repository = f"ssh://{getpass.getuser()}@127.0.0.1:{ssh.port}{tmp_path}/served/course.git"
    entry = source(
        repository, deploy_key=(ssh.folder / "login_key").read_text(), known_hosts=f"[127.0.0.1]:{ssh.port} ssh-ed25519 {other}\n"
    )
    with pytest.raises(GoldenJobsError, match="cannot be had"):
        check_out(tmp_path, entry)
