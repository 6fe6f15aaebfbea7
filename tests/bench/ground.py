"""What all contenders of `make bench` work on: courses, a registry, two clusters, and a copy of the project. All of it is removed again.

The registry is the benchmark's own, as the local platform's would keep for ever what hundreds of builds have sent to it; its base image is
the local platform's. The clusters are PAI sandboxes that run containers on the local platform's engine.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import yaml
from docker.errors import APIError
from PIL import Image

from tests.bench.build_cache import pruned_build_cache
from tests.bench.measure import ROOT, command
from tests.bench.plays import docker_cli
from tests.clusters import Clusters, clusters
from tests.support import Registry, ansible_environment, free_ports

#: Courses and their requirements. The first one is what the scenarios of one course rebuild.
COURSES = {
    "B1": "numpy>=2.2,<3\npandas>=2.3,<4\nmatplotlib>=3.10,<4\n",
    "B2": "tabulate>=0.9,<1\n",
    "B3": "pillow>=11,<13\n",
    "B4": "networkx>=3.4,<4\n",
}
ONE = "B1"
NOTEBOOKS = 20
#: How long a cluster of the benchmark takes to act, as those of the local platform do.
PACE: dict[str, Any] = {"settle_s": 0.3, "poll_s": 0.25}
_SITE_FILES = {"site_env": "site.env", "site_ca": "site.ca", "site_apt": "site.apt"}


@dataclass
class Ground:
    """`site`: the local platform's mirrors, proxy and CA; `site_files`: the same as files by name, for `COPY`.

    `mark`: what tells this run's builds from another's, and the beginning of what tells one round's. `contexts`: bytes of the contexts
    that BuildKit was given. `nameless`: ids of images that a scenario took the name of while their jobs ran.
    """

    folder: Path
    engine: Any
    registry: Registry
    fleet: Clusters
    base_image: str
    site: dict[str, Any]
    site_files: dict[str, str]
    mark: str
    contexts: set[int] = field(default_factory=set)
    nameless: set[str] = field(default_factory=set)

    @property
    def blobs(self) -> Path:
        """The registry's images on disk."""
        return self.registry.folder / "images"

    @property
    def project(self) -> Path:
        return self.folder / "project"

    def courseware(self, who: str, course: str) -> Path:
        """A repository with notebooks; each contender has its own, as each changes it when it is its turn."""
        return self.folder / "courseware" / who / course

    def job_file(self) -> Path:
        """The Golden Job that is submitted by hand, with the registry's login."""
        path = self.folder / "job.yaml"
        text = (ROOT / "tests/bench/by_hand/job.yaml").read_text()
        login = {
            "REGISTRY_USER": self.registry.username,
            "REGISTRY_PASSWORD": self.registry.password,
            "REGISTRY_ADDRESS": self.registry.address,
        }
        for name, value in login.items():
            text = text.replace(name, value)
        path.write_text(text)
        return path


def make_courseware(repository: Path) -> None:
    repository.mkdir(parents=True)
    for number in range(NOTEBOOKS):
        _write_notebook(repository / f"lesson-{number:02d}.ipynb", f"lesson {number}")
    _git(repository, "init", "--quiet", "--initial-branch=main")
    _commit(repository)


def change_notebook(repository: Path) -> None:
    """One commit that changes one notebook."""
    _write_notebook(repository / "lesson-00.ipynb", secrets.token_hex(8))
    _commit(repository)


def _write_notebook(path: Path, text: str) -> None:
    cell: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": [f"print({text!r})\n"] * 200,
    }
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1))


def _commit(repository: Path) -> None:
    _git(repository, "add", "--all")
    _git(repository, "-c", "user.name=developer", "-c", "user.email=developer@localhost", "commit", "--quiet", "--message", "lessons")


def _git(repository: Path, *argv: str) -> None:
    subprocess.run(["git", "-C", str(repository), *argv], check=True)


def change_logo(path: Path) -> None:
    """One pixel, so that it is never one that was built before."""
    with Image.open(path) as image:
        changed = image.convert("RGBA")
    changed.putpixel((0, 0), (*secrets.token_bytes(3), 255))
    changed.save(path)


def change_requirement(path: Path) -> None:
    """One small package more, and a comment that no build has seen before."""
    path.write_text(f"{path.read_text()}tabulate>=0.9,<1\n# {secrets.token_hex(8)}\n")


@contextmanager
def ground() -> Iterator[Ground]:
    """Everything that was made is removed at the end: jobs and their containers, images, the builder's cache, the registry, the files."""
    engine = docker.from_env(version="auto", timeout=600).api
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="golden-jobs-bench-")))
        registry = Registry(folder / "registry", free_ports(1))
        stack.callback(registry.stop)
        registry.start()
        mark, contexts, nameless = f"bench-{secrets.token_hex(4)}", set[int](), set[str]()
        stack.callback(_remove_images, engine, registry.address, mark, nameless)
        _log_in(folder, registry)
        base_image = _push_base(folder, engine, registry)
        stack.enter_context(pruned_build_cache(engine, mark, contexts))
        fleet = stack.enter_context(clusters(folder / "clusters", 2, containers=True, **PACE))
        site = _variable("build_servers", "build_server_site")
        made = Ground(folder, engine, registry, fleet, base_image, site, _site_files(), mark, contexts, nameless)
        _copy_project(made.project)
        yield made


def _remove_images(engine: Any, address: str, mark: str, nameless: set[str]) -> None:
    """Those of our registry, and those of this run that have lost their names; containers of a step that failed hold them.

    Another run's are left alone: it may be building.
    """
    label = f"golden-jobs-bench={mark}"
    for container in engine.containers(all=True, filters={"label": label}):
        with suppress(APIError):  # its build removes it, too
            engine.remove_container(container["Id"], force=True)
    for image in engine.images():
        for name in image["RepoTags"] or []:
            if name.startswith(f"{address}/"):
                engine.remove_image(name, force=True)
    dangling = [image["Id"] for image in engine.images(filters={"dangling": True, "label": label})]
    for image_id in [*dangling, *nameless]:
        try:
            engine.remove_image(image_id)
        except APIError:  # it went with another one, or another one is based on it and takes it along
            continue


def patient(fleet: Clusters) -> None:
    """Give its rollouts the role's own deadlines: two hundred clusters in one process keep each other waiting longer than a test allows."""
    for name in [name for name in fleet.vars if name.endswith(("_timeout_s", "_patience_s"))]:
        del fleet.vars[name]


def docker_environment(folder: Path) -> dict[str, str]:
    """In which the docker CLI and the Docker SDK know the login of the benchmark's registry, and nobody's own."""
    return {**os.environ, "DOCKER_CONFIG": str(folder / "docker")}


def _log_in(folder: Path, registry: Registry) -> None:
    login = ["login", "--username", registry.username, "--password-stdin", registry.address]
    subprocess.run(
        [docker_cli.path, *login],
        input=registry.password,
        env=docker_environment(folder),
        check=True,
        text=True,
        capture_output=True,
    )


def _push_base(folder: Path, engine: Any, registry: Registry) -> str:
    """The local platform's base image in the benchmark's registry."""
    name = f"{registry.address}/bench/base"
    engine.tag(_variable("courses[0]", "course_base_image"), name, "v1")
    command([docker_cli.path, "push", "--quiet", f"{name}:v1"], env=docker_environment(folder))
    return f"{name}:v1"


def _copy_project(target: Path) -> None:
    target.mkdir()
    copy = f"git ls-files -z | tar --null -T - -cf - | tar -C {target} -xf -"
    subprocess.run(copy, shell=True, cwd=ROOT, check=True)
    (target / ".venv").symlink_to((ROOT / ".venv").resolve())
    config = target / "ansible.cfg"
    config.write_text(re.sub(r"^inventory = .*", "inventory = inventory/bench", config.read_text(), flags=re.MULTILINE))
    shutil.copytree(target / "inventory" / "group_vars", target / "inventory" / "bench" / "group_vars")


def _variable(hosts: str, name: str) -> Any:
    """What the local platform's inventory says."""
    shown = command(["ansible", hosts, "-m", "debug", "-a", f"var={name}"], env=ansible_environment())
    return yaml.safe_load(shown[shown.index("=>") + 2 :])[name]


def _site_files() -> dict[str, str]:
    files = {}
    for secret in _variable("build_servers", "build_server_secrets"):
        path, content = (str(secret.get(key) or "") for key in ("file", "content"))
        if path and "omit" not in path:
            content = Path(path).read_text()
        files[_SITE_FILES[secret["id"]]] = "" if "omit" in content else content.replace("/run/secrets/site_", "/site/site.")
    return files
