"""What every test may use."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import ansible.module_utils
import docker
import docker.errors
import pytest

from tests.platform import Platform
from tests.support import ROOT, Registry, free_ports, install, static_busybox

# ansible.cfg's `module_utils` does this for modules; tests import the same code.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if not (shutil.which("docker-registry") and shutil.which("htpasswd")):
        install("docker-registry", "apache2-utils")
    running = Registry(tmp_path_factory.mktemp("registry"), free_ports(1))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The local platform as `make demo` brings it up in a fresh clone."""
    running = Platform.clone(tmp_path_factory.mktemp("platform"))
    running.demo = running.run("make", "demo")
    yield running
    running.run("make", "purge")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Any:
    """The engine's API: the one that answers, else the one that the platform starts."""
    try:
        return docker.from_env(version="auto").api
    except docker.errors.DockerException:
        request.getfixturevalue("platform")
    return docker.from_env(version="auto").api


@pytest.fixture(scope="session")
def tiny_image(engine: Any, registry: Registry) -> Iterator[str]:
    """An image with a shell and an httpd, of 2 MB: busybox. In the engine and in the test's registry."""
    busybox = static_busybox()
    root = registry.folder / "tiny"
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    for name in ("sh", "httpd", "sleep", "cat", "echo", "true", "false", "test", "ls", "find"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "bin" / "bash").write_text('#!/bin/sh\nexec sh "$@"\n')
    (root / "bin" / "bash").chmod(0o755)
    archive = registry.folder / "tiny.tar"
    subprocess.run(["tar", "-C", str(root), "--numeric-owner", "-cf", str(archive), "."], check=True)
    name = f"{registry.address}/test/tiny:1"
    engine.import_image(str(archive), repository=f"{registry.address}/test/tiny", tag="1")
    for event in engine.push(name, auth_config={"username": registry.username, "password": registry.password}, stream=True, decode=True):
        assert "error" not in event
    yield name
    for image in engine.images(filters={"reference": f"{registry.address}/*/*"}):
        for tag in image["RepoTags"] or []:
            try:
                engine.remove_image(tag, force=True)
            except docker.errors.NotFound:
                continue
