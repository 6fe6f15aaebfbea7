"""Small images with our logos, built by the project's own macros and started here, for the tests of the branding."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors
import jinja2

from tests.drawn import draw
from tests.platform import Platform, get
from tests.support import ROOT, wait_for

NAME = "localhost/test/branding"
HEAD = """\
{% import 'macros/branding.j2' as branding %}
{% import 'macros/code_server.j2' as code_server %}
{% import 'macros/jupyter.j2' as jupyter %}
{% import 'macros/python.j2' as python %}
"""
TAIL = "\n{{ branding.install() }}\n"


@dataclass(frozen=True)
class Kind:
    """A small image: its Dockerfile, the command that starts it on port 8888, our file by the path that shows it, the path that says it is up."""

    dockerfile: str
    command: str
    shown: Mapping[str, str]
    ready: str = "/api"


@dataclass(frozen=True)
class Running:
    """A started image, which asks for a token or a password."""

    name: str
    address: str
    container: str
    engine: Any

    def run(self, *command: str) -> tuple[int, str]:
        started = self.engine.exec_create(self.container, list(command))["Id"]
        output = self.engine.exec_start(started).decode()
        return self.engine.exec_inspect(started)["ExitCode"], output

    def wrong(self, shown: Mapping[str, str], logos: Path, **options: Any) -> dict[str, tuple[int, str]]:
        """Paths that do not serve our file: status and digest."""
        wrong = {}
        for path, ours in shown.items():
            answer = get(self.address + path, **options)
            if answer.status_code != 200 or answer.content != (logos / ours).read_bytes():
                wrong[path] = (answer.status_code, hashlib.sha256(answer.content).hexdigest()[:12])
        return wrong

    def gate(self) -> tuple[int, str]:
        """What the smoke test before the push runs."""
        return self.run("python3", "/opt/branding/brand.py", "served", "http://127.0.0.1:8888")

    def gate_with_stock(self, path: str) -> tuple[int, str]:
        """The same while that file is not ours."""
        assert self.run("sh", "-c", f"cp {path} /tmp/ours && echo stock > {path}")[0] == 0
        answer = self.gate()
        assert self.run("cp", "/tmp/ours", path)[0] == 0
        return answer

    def listed(self) -> dict[str, dict[str, Any]]:
        """The image's own list of logos by path."""
        return {row["path"]: row for row in json.loads(self.run("python3", "/opt/branding/brand.py", "list")[1])}


@contextlib.contextmanager
def started(engine: Any, name: str, kind: Kind) -> Iterator[Running]:
    host = engine.create_host_config(port_bindings={8888: ("127.0.0.1",)})
    container = engine.create_container(f"{NAME}:{name}", ["sh", "-c", kind.command], ports=[8888], host_config=host)["Id"]
    try:
        engine.start(container)
        address = f"http://127.0.0.1:{engine.port(container, 8888)[0]['HostPort']}"

        def answers() -> bool:
            assert engine.inspect_container(container)["State"]["Running"], engine.logs(container).decode()
            return bool(get(f"{address}{kind.ready}").ok)

        wait_for(answers, 120)
        yield Running(name, address, container, engine)
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            engine.remove_container(container, force=True, v=True)


class Bench:
    """Builds small images on the platform's build server."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform = platform
        self.folder = folder
        self.logos = folder / "branding"
        given = {name: str(ROOT / "branding" / f"{name.replace('_', '-')}.ico") for name in ("favicon", "favicon_busy", "favicon_terminal")}
        files = [str(ROOT / "branding" / name) for name in ("brand.py", "custom.css")]
        logo = str(ROOT / "branding" / "logo.png")
        draw(self.logos, logo=logo, files=files, **given)
        self.templates = jinja2.Environment(loader=jinja2.FileSystemLoader(ROOT / "dockerfiles"), trim_blocks=True, autoescape=False)

    def build(self, dockerfiles: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Build each as NAME:<name>. The wheels stay in the engine's cache between sessions."""
        base = f"{self.platform.registry_address}/shaiic/standard:ddebby.ai.v0.1.0"
        tasks = []
        for name, text in dockerfiles.items():
            context = self.folder / name
            shutil.copytree(self.logos, context / "branding")
            shutil.copytree(ROOT / "dockerfiles" / "scripts", context / "build")
            (context / "Dockerfile").write_text(self.templates.from_string(HEAD + text + TAIL).render(base=base))
            options = {"name": NAME, "version": name, "tags": [name], "context": str(context), "ask_registry": False}
            site = {"secrets": "{{ build_server_secrets }}", "pull": False, "log_path": str(self.folder / f"{name}.log")}
            tasks.append({"name": f"Build {name}", "docker_build": {**options, **site}})
        play = self.platform.project / "branding-matrix.yml"
        play.write_text(json.dumps([{"name": "Build the matrix", "hosts": "build_servers", "gather_facts": False, "tasks": tasks}]))
        try:
            return self.platform.run("ansible-playbook", str(play))
        finally:
            play.unlink()

    def remove(self, engine: Any) -> None:
        for image in engine.images(name=NAME):
            for tag in image["RepoTags"] or []:
                engine.remove_image(tag, force=True)
