"""Every logo URL of every Jupyter that a base image may have, on small images that are built and started here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import jinja2
import pytest

from tests.platform import Platform, get
from tests.support import ROOT, run_module, wait_for

#: Name -> (what macros/jupyter.j2 installs, packages on top, command).
KINDS = {
    "notebook-6.4": ("notebook-6.4", [], "notebook --NotebookApp.token=secret"),
    "notebook-6.5": ("notebook-6.5", [], "notebook --NotebookApp.token=secret"),
    "notebook-7": ("notebook-7", [], "notebook --IdentityProvider.token=secret"),
    "notebook-7-with-nbclassic": ("notebook-7", ["nbclassic>=1.3,<2"], "notebook --IdentityProvider.token=secret"),
    "lab-4": ("lab-4", [], "lab --IdentityProvider.token=secret"),
}
ICONS = {
    "favicon": "favicon.ico",
    "favicon-file": "favicon.ico",
    "favicon-notebook": "favicon.ico",
    "favicon-terminal": "favicon-terminal.ico",
    "favicon-busy-1": "favicon-busy.ico",
    "favicon-busy-2": "favicon-busy.ico",
    "favicon-busy-3": "favicon-busy.ico",
}
EVERYWHERE = {"/favicon.ico": "favicon.ico", "/static/favicon.ico": "favicon.ico"}
SERVER = {"/static/logo/logo.png": "logo.png", **{f"/static/favicons/{name}.ico": ours for name, ours in ICONS.items()}}
CLASSIC = {"/static/base/images/logo.png": "logo.png", **{f"/static/base/images/{name}.ico": ours for name, ours in ICONS.items()}}
UNDER_SERVER = {path.replace("/static/", "/static/nbclassic/"): ours for path, ours in CLASSIC.items()}
MATRIX = {
    "notebook-6.4": {**EVERYWHERE, **CLASSIC},
    "notebook-6.5": {**EVERYWHERE, **CLASSIC},
    "notebook-7": {**EVERYWHERE, **SERVER},
    "notebook-7-with-nbclassic": {**EVERYWHERE, **SERVER, **UNDER_SERVER},
    "lab-4": {**EVERYWHERE, **SERVER},
}
DOCKERFILE = """\
{% import 'macros/branding.j2' as branding %}
{% import 'macros/jupyter.j2' as jupyter %}
{% import 'macros/python.j2' as python %}
FROM {{ base }}
RUN python3 -m venv --without-pip /opt/under-test
ENV VIRTUAL_ENV=/opt/under-test PATH=/opt/under-test/bin:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
{{ jupyter.install(version) }}
{% if more %}
{{ python.packages(more) }}
{% endif %}
{{ branding.install() }}
"""


@pytest.fixture(scope="module")
def images(platform: Platform, engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Path]]:
    """Kind -> image, and the folder of our logos. The wheels stay in the engine's cache between sessions."""
    folder = tmp_path_factory.mktemp("matrix")
    logos = folder / "branding"
    given = {name: str(ROOT / "branding" / f"{name.replace('_', '-')}.ico") for name in ("favicon", "favicon_busy", "favicon_terminal")}
    files = [str(ROOT / "branding" / name) for name in ("brand.py", "custom.css")]
    logo = str(ROOT / "branding" / "logo.png")
    made = run_module("course_branding", dest=str(logos), product_name="Golden Jobs", logo=logo, files=files, **given)
    assert not made["failed"], made
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(ROOT / "dockerfiles"), trim_blocks=True, autoescape=False)
    base = f"{platform.registry_address}/shaiic/standard:ddebby.ai.v0.1.0"
    built, tasks = {}, []
    for kind, (version, more, _) in KINDS.items():
        context = folder / kind
        shutil.copytree(logos, context / "branding")
        (context / "Dockerfile").write_text(templates.from_string(DOCKERFILE).render(base=base, version=version, more=more))
        options = {"name": "localhost/test/branding", "version": kind, "tags": [kind], "context": str(context), "ask_registry": False}
        site = {"secrets": "{{ build_server_secrets }}", "pull": False, "log_path": str(folder / f"{kind}.log")}
        tasks.append({"name": f"Build {kind}", "docker_build": {**options, **site}})
        built[kind] = f"localhost/test/branding:{kind}"
    play = platform.project / "branding-matrix.yml"
    play.write_text(json.dumps([{"name": "Build the matrix", "hosts": "build_servers", "gather_facts": False, "tasks": tasks}]))
    done = platform.run("ansible-playbook", str(play))
    play.unlink()
    assert done.returncode == 0, done.stdout[-4000:]
    yield built, logos
    for image in engine.images(name="localhost/test/branding"):
        for tag in image["RepoTags"] or []:
            engine.remove_image(tag, force=True)


@pytest.fixture(scope="module", params=KINDS)
def running(request: pytest.FixtureRequest, images: tuple[dict[str, str], Path], engine: Any) -> Iterator[tuple[str, str, str]]:
    """(kind, address, container) of a server with a token."""
    kind = request.param
    image = images[0][kind]
    command = f"exec jupyter {KINDS[kind][2]} --allow-root --no-browser --ip=0.0.0.0 --port=8888"
    container = engine.create_container(
        image, ["sh", "-c", command], ports=[8888], host_config=engine.create_host_config(port_bindings={8888: ("127.0.0.1",)})
    )["Id"]
    try:
        engine.start(container)
        address = f"http://127.0.0.1:{engine.port(container, 8888)[0]['HostPort']}"

        def answers() -> bool:
            assert engine.inspect_container(container)["State"]["Running"], engine.logs(container).decode()
            return bool(get(f"{address}/api").ok)

        wait_for(answers, 120)
        yield kind, address, container
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            engine.remove_container(container, force=True, v=True)


def test_each_logo_address_serves_our_bytes(running: tuple[str, str, str], images: tuple[dict[str, str], Path]):
    kind, address, _ = running
    wrong = {}
    for path, ours in MATRIX[kind].items():
        answer = get(address + path)
        if answer.status_code != 200 or answer.content != (images[1] / ours).read_bytes():
            wrong[path] = (answer.status_code, hashlib.sha256(answer.content).hexdigest()[:12])
    assert not wrong


def test_the_log_in_page_has_our_name_and_logo(running: tuple[str, str, str]):
    kind, address, _ = running
    page = get(f"{address}/login?next=%2F").text
    assert "<title>Golden Jobs</title>" in page.replace("\n", "")
    assert "--brand-color: #b8860b" in page
    logo = "/static/base/images/logo.png" if kind.startswith("notebook-6") else "/static/logo/logo.png"
    assert logo in page


def test_the_gates_program_agrees_and_notices_a_stock_logo(running: tuple[str, str, str], engine: Any):
    kind, _, container = running

    def run(*command: str) -> tuple[int, str]:
        started = engine.exec_create(container, list(command))["Id"]
        output = engine.exec_start(started).decode()
        return engine.exec_inspect(started)["ExitCode"], output

    gate = ("python3", "/opt/branding/brand.py", "served", "http://127.0.0.1:8888")
    code, output = run(*gate)
    assert code == 0, output
    listed = json.loads(run("python3", "/opt/branding/brand.py", "list")[1])
    assert listed
    assert all(row["ours"] for row in listed)
    shown = {row["url"]: row["path"] for row in listed}
    target = shown["/static/base/images/logo.png"] if kind.startswith("notebook-6") else "/opt/branding/static/logo/logo.png"
    assert run("sh", "-c", f"cp {target} /tmp/ours && echo stock > {target}")[0] == 0
    code, output = run(*gate)
    run("cp", "/tmp/ours", target)
    assert code == 1
    assert "does not serve our logo.png" in output
