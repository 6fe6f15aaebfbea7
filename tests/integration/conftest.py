"""What the tests of the image modules share: a course's context with a repository of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fault_proxy import FaultProxy
from tests.integration.pushing import remove
from tests.support import Registry


@pytest.fixture
def course(tmp_path: Path, tiny_image: str, registry: Registry, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of docker_build for a context of its own."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {tiny_image}\nCOPY index.html /www/index.html\nRUN echo built > /www/built\n")
    (context / "index.html").write_text("our page")
    name = f"{registry.address}/test/{request.node.originalname.replace('_', '-')[:50].rstrip('-').lower()}-{uuid.uuid4().hex[:8]}"
    return {"name": name, "version": "v1", "context": str(context), "log_path": str(tmp_path / "build.log"), **registry.login}


@pytest.fixture
def proxy(registry: Registry) -> Iterator[FaultProxy]:
    """A place for faults between the engine and the registry."""
    running = FaultProxy(registry.address)
    yield running
    running.close()


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Where docker_push, run by `pushing.push_here`, writes what it shows."""
    return tmp_path / "progress"


@pytest.fixture
def target(proxy: FaultProxy, registry: Registry, engine: Any, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Options of docker_push for a repository of the test's own, through the proxy."""
    name = f"{proxy.address}/push/{request.node.name.split('[')[0].replace('_', '-')[:60].rstrip('-').lower()}"
    yield {"name": name, **registry.login}
    remove(engine, proxy.address)
