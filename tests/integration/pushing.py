"""What the tests of docker_push share: images that cannot be compressed, registries of their own, and the module run in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import requests
from ansible.module_utils.golden_jobs import image_push
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress

from tests.support import free_ports, wait_for

#: Of every image that these tests make.
LABEL = "golden-jobs.test-of-docker-push"


def push_here(lines: Path, *, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    """docker_push in this process; a failure is `{"failed": True, "msg": …}`. What it shows is appended to the file `lines`."""
    params = {name: option.get("default") for name, option in image_push.SPEC.items()} | options
    try:
        result = image_push.run(SimpleNamespace(params=params, check_mode=check_mode), Progress(str(lines)))
    except GoldenJobsError as error:
        return {"failed": True, "msg": str(error), **error.details}
    return {"failed": False, **json.loads(json.dumps(result))}


def texts(lines: Path) -> list[str]:
    """What was shown so far."""
    return [json.loads(one)["text"] for one in lines.read_text().splitlines()]


def make_image(engine: Any, reference: str, *layers_mb: float, label: str = "none", seed: int | None = None) -> str:
    """Build an image with one layer per size, of bytes that nothing compresses; its id. The same seed gives the same layers."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        copies = [f"COPY layer{number} /layer{number}" for number in range(len(layers_mb))]
        _add(tar, "Dockerfile", "\n".join(["FROM scratch", *copies, f"LABEL {LABEL}={label}", ""]).encode())
        for number, size_mb in enumerate(layers_mb):
            content = os.urandom(int(size_mb * 1e6)) if seed is None else bytes([seed, number]) * int(size_mb * 5e5)
            _add(tar, f"layer{number}", content)
    archive.seek(0)
    for event in engine.build(fileobj=archive, custom_context=True, tag=reference, rm=True, decode=True):
        assert "error" not in event, event
    return str(engine.inspect_image(reference)["Id"])


def remove(engine: Any, address: str) -> None:
    """Remove the images of a registry, and those of `make_image` that lost their names, from the engine."""
    for image in engine.images(filters={"reference": f"{address}/*/*"}):
        for reference in [*(image["RepoTags"] or []), *(image["RepoDigests"] or [])]:
            _remove(engine, reference)
    for image in engine.images(filters={"label": LABEL, "dangling": True}):
        _remove(engine, image["Id"])


def _remove(engine: Any, reference: str) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        engine.remove_image(reference, force=True)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


@dataclass
class OwnRegistry:
    """Debian's docker-registry for one test, without a login; `config` is laid over its configuration."""

    folder: Path
    address: str = field(default_factory=lambda: f"127.0.0.1:{free_ports(1)}")
    config: dict[str, Any] = field(default_factory=dict)
    ca: str | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "images")}, "delete": {"enabled": True}},
            "log": {"level": "error"},
            **self.config,
            "http": {"addr": self.address, **self.config.get("http", {})},
        }
        path = self.folder / "config.yml"
        path.write_text(json.dumps(config))
        self.process = subprocess.Popen(["docker-registry", "serve", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.get("").status_code in (200, 401))

    def get(self, path: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{'https' if self.ca else 'http'}://{self.address}/v2/{path}", timeout=5, verify=self.ca or True)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
