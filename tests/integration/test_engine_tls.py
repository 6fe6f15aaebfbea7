"""An engine behind TLS: socat gives the engine's socket a port that asks for a client certificate."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.image_modules import build
from tests.support import AS_ROOT, free_ports, install, wait_for
from tests.token_server import Authority


@pytest.fixture(scope="module")
def tls_engine(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Options that reach the engine: its address, the CA, a client certificate and its key."""
    if not shutil.which("socat"):
        install("socat")
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder / "authority", "127.0.0.1")
    port = free_ports(1)
    listen = f"OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,verify=1"
    files = f"cert={authority.ca_file},key={authority.key_file},cafile={authority.ca_file}"
    running = subprocess.Popen([*AS_ROOT, "socat", f"{listen},{files}", "UNIX-CONNECT:/var/run/docker.sock"], stderr=subprocess.DEVNULL)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens)
    yield {
        "docker_host": f"tcp://127.0.0.1:{port}",
        "tls_ca": str(authority.ca_file),
        "tls_cert": str(authority.ca_file),
        "tls_key": str(authority.key_file),
    }
    running.terminate()
    running.wait()


@pytest.mark.parametrize("builder", ["buildkit", "classic"])
def test_both_builders_reach_an_engine_behind_tls_whatever_ca_the_site_has_for_python(
    course: dict[str, Any], tls_engine: dict[str, str], builder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Authority(tmp_path / "site", "127.0.0.1").ca_file))
    first = build(course, builder=builder, **tls_engine)
    assert first["changed"], first["msg"]
    assert not build(course, builder=builder, **tls_engine)["changed"]


def test_a_certificate_of_another_ca_is_refused_unless_told_otherwise(course: dict[str, Any], tls_engine: dict[str, str], tmp_path: Path):
    other = {**tls_engine, "tls_ca": str(Authority(tmp_path / "other", "127.0.0.1").ca_file)}
    failed = build(course, **other)
    assert failed["failed"]
    assert f"No Docker engine answers at {tls_engine['docker_host']}" in failed["msg"]
    assert "CERTIFICATE_VERIFY_FAILED" in failed["msg"]
    assert build(course, tls_verify=False, **other)["changed"]


def test_without_a_client_certificate_the_engine_is_named(course: dict[str, Any], tls_engine: dict[str, str]):
    failed = build(course, docker_host=tls_engine["docker_host"], tls_ca=tls_engine["tls_ca"])
    assert failed["failed"]
    assert f"No Docker engine answers at {tls_engine['docker_host']}" in failed["msg"]
