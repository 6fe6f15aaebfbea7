"""Every logo URL of every Jupyter that a base image may have and of code-server, on small images that are built and started here."""

from __future__ import annotations

import contextlib
import hashlib
import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors
import jinja2
import pytest
import requests

from tests.platform import Platform, get
from tests.support import ROOT, run_module, wait_for

JUPYTER = "exec jupyter {} --allow-root --no-browser --ip=0.0.0.0 --port=8888"
CODE_SERVER = "PASSWORD=secret exec code-server --disable-telemetry --disable-update-check --bind-addr=0.0.0.0:8888 /root"


@dataclass(frozen=True)
class Kind:
    """A small image: what its Dockerfile installs below the base image, the command that starts it, the address that says that it is up."""

    install: str
    command: str
    ready: str = "/api"


KINDS = {
    "notebook-6.4": Kind("{{ jupyter.install('notebook-6.4') }}", JUPYTER.format("notebook --NotebookApp.token=secret")),
    "notebook-6.5": Kind("{{ jupyter.install('notebook-6.5') }}", JUPYTER.format("notebook --NotebookApp.token=secret")),
    "notebook-7": Kind("{{ jupyter.install('notebook-7') }}", JUPYTER.format("notebook --IdentityProvider.token=secret")),
    "notebook-7-with-nbclassic": Kind(
        "{{ jupyter.install('notebook-7') }}\n{{ python.packages(['nbclassic>=1.3,<2']) }}",
        JUPYTER.format("notebook --IdentityProvider.token=secret"),
    ),
    "lab-4": Kind("{{ jupyter.install('lab-4') }}", JUPYTER.format("lab --IdentityProvider.token=secret")),
    "code-server": Kind("{{ code_server.install() }}", CODE_SERVER, "/healthz"),
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
CODE_MEDIA = {
    "code-icon.svg": "favicon.svg",  # title bar
    **{f"letterpress-{theme}.svg": "letterpress.svg" for theme in ("dark", "light", "hcDark", "hcLight")},  # watermark
}
CODE = {
    "/_static/src/browser/media/favicon.ico": "favicon.ico",
    "/_static/src/browser/media/favicon.svg": "favicon.svg",
    "/_static/src/browser/media/favicon-dark-support.svg": "favicon.svg",
    **{f"/_static/src/browser/media/pwa-icon-{size}.png": f"icon-{size}.png" for size in (192, 512)},
    **{f"/_static/src/browser/media/pwa-icon-maskable-{size}.png": f"icon-maskable-{size}.png" for size in (192, 512)},
    **{f"/_static/lib/vscode/out/media/{name}": ours for name, ours in CODE_MEDIA.items()},
    **{f"{{workbench}}/out/media/{name}": ours for name, ours in CODE_MEDIA.items()},
    "/_static/lib/vscode/resources/server/favicon.ico": "favicon.ico",
    **{f"/_static/lib/vscode/resources/server/code-{size}.png": f"icon-{size}.png" for size in (192, 512)},
}
MATRIX = {
    "notebook-6.4": {**EVERYWHERE, **CLASSIC},
    "notebook-6.5": {**EVERYWHERE, **CLASSIC},
    "notebook-7": {**EVERYWHERE, **SERVER},
    "notebook-7-with-nbclassic": {**EVERYWHERE, **SERVER, **UNDER_SERVER},
    "lab-4": {**EVERYWHERE, **SERVER},
    "code-server": CODE,
}
HEAD = """\
{% import 'macros/branding.j2' as branding %}
{% import 'macros/code_server.j2' as code_server %}
{% import 'macros/jupyter.j2' as jupyter %}
{% import 'macros/python.j2' as python %}
"""
FROM = "FROM {{ base }}\n"
#: The engine builds this once for these tests and all courses on this base.
STAGE = "{{ code_server.stage(base) }}\n"
#: A Jupyter of the image's own, in front of that of the base image.
ENVIRONMENT = """\
RUN python3 -m venv --without-pip /opt/under-test
ENV VIRTUAL_ENV=/opt/under-test PATH=/opt/under-test/bin:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
"""
#: A stock logo in the image's one folder of such, as a shell expression.
STOCK = "$(find /opt/under-test -path '*/static/logo/logo.png')"
TAIL = "\n{{ branding.install() }}\n"


def dockerfile(kind: str, more: str = "") -> str:
    ground = STAGE + FROM if kind == "code-server" else FROM + ENVIRONMENT
    return HEAD + ground + KINDS[kind].install + more + TAIL


class Bench:
    """Builds small images on the platform's build server."""

    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform = platform
        self.folder = folder
        self.logos = folder / "branding"
        given = {name: str(ROOT / "branding" / f"{name.replace('_', '-')}.ico") for name in ("favicon", "favicon_busy", "favicon_terminal")}
        files = [str(ROOT / "branding" / name) for name in ("brand.py", "custom.css")]
        logo = str(ROOT / "branding" / "logo.png")
        made = run_module("course_branding", dest=str(self.logos), product_name="Golden Jobs", logo=logo, files=files, **given)
        assert not made["failed"], made
        self.templates = jinja2.Environment(loader=jinja2.FileSystemLoader(ROOT / "dockerfiles"), trim_blocks=True, autoescape=False)

    def build(self, dockerfiles: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Build each as localhost/test/branding:<name>. The wheels stay in the engine's cache between sessions."""
        base = f"{self.platform.registry_address}/shaiic/standard:ddebby.ai.v0.1.0"
        tasks = []
        for name, text in dockerfiles.items():
            context = self.folder / name
            shutil.copytree(self.logos, context / "branding")
            shutil.copytree(ROOT / "dockerfiles" / "scripts", context / "build")
            (context / "Dockerfile").write_text(self.templates.from_string(text).render(base=base))
            options = {"name": "localhost/test/branding", "version": name, "tags": [name], "context": str(context), "ask_registry": False}
            site = {"secrets": "{{ build_server_secrets }}", "pull": False, "log_path": str(self.folder / f"{name}.log")}
            tasks.append({"name": f"Build {name}", "docker_build": {**options, **site}})
        play = self.platform.project / "branding-matrix.yml"
        play.write_text(json.dumps([{"name": "Build the matrix", "hosts": "build_servers", "gather_facts": False, "tasks": tasks}]))
        try:
            return self.platform.run("ansible-playbook", str(play))
        finally:
            play.unlink()


@pytest.fixture(scope="module")
def bench(platform: Platform, engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield Bench(platform, tmp_path_factory.mktemp("matrix"))
    for image in engine.images(name="localhost/test/branding"):
        for tag in image["RepoTags"] or []:
            engine.remove_image(tag, force=True)


@pytest.fixture(scope="module")
def images(bench: Bench) -> dict[str, str]:
    """Kind -> image. In one of them a copy of the stock logo lies where no Jupyter is."""
    copy = {"notebook-7": f'\nRUN install -D "{STOCK}" /srv/other/picture.png'}
    done = bench.build({kind: dockerfile(kind, copy.get(kind, "")) for kind in KINDS})
    assert done.returncode == 0, done.stdout[-4000:]
    return {kind: f"localhost/test/branding:{kind}" for kind in KINDS}


@dataclass(frozen=True)
class Running:
    """A started image, which asks for a token or a password."""

    kind: str
    address: str
    container: str
    engine: Any

    def run(self, *command: str) -> tuple[int, str]:
        started = self.engine.exec_create(self.container, list(command))["Id"]
        output = self.engine.exec_start(started).decode()
        return self.engine.exec_inspect(started)["ExitCode"], output


@pytest.fixture(scope="module", params=KINDS)
def running(request: pytest.FixtureRequest, images: dict[str, str], engine: Any) -> Iterator[Running]:
    kind = KINDS[request.param]
    host = engine.create_host_config(port_bindings={8888: ("127.0.0.1",)})
    container = engine.create_container(images[request.param], ["sh", "-c", kind.command], ports=[8888], host_config=host)["Id"]
    try:
        engine.start(container)
        address = f"http://127.0.0.1:{engine.port(container, 8888)[0]['HostPort']}"

        def answers() -> bool:
            assert engine.inspect_container(container)["State"]["Running"], engine.logs(container).decode()
            return bool(get(f"{address}{kind.ready}").ok)

        wait_for(answers, 120)
        yield Running(request.param, address, container, engine)
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            engine.remove_container(container, force=True, v=True)


def test_each_logo_address_serves_our_bytes(running: Running, bench: Bench):
    options: dict[str, Any] = {}
    workbench = ""
    if running.kind == "code-server":
        page, options["cookies"] = code_server_page(running.address)
        found = re.search(r"stable-[0-9a-f]+/static", page)
        assert found, page[:2000]
        workbench = f"/{found.group()}"
    wrong = {}
    for path, ours in MATRIX[running.kind].items():
        answer = get(running.address + path.format(workbench=workbench), **options)
        if answer.status_code != 200 or answer.content != (bench.logos / ours).read_bytes():
            wrong[path] = (answer.status_code, hashlib.sha256(answer.content).hexdigest()[:12])
    assert not wrong


def code_server_page(address: str) -> tuple[str, Any]:
    """The workbench's page and the cookies of the log-in in front of it."""
    with requests.Session() as session:
        session.trust_env = False
        login = session.post(f"{address}/login", data={"password": "secret"}, allow_redirects=False, timeout=10)
    assert login.status_code == 302, login.text[:2000]
    page = get(f"{address}/?folder=/root", cookies=login.cookies)
    assert page.ok
    return page.text, login.cookies


def test_the_log_in_page_has_our_name_and_logo(running: Running):
    page = get(f"{running.address}/login?next=%2F").text
    if running.kind == "code-server":  # its page has a name and no logo
        assert re.search(r"<title>\s*Golden Jobs login\s*</title>", page)
        assert "Welcome to Golden Jobs" in page
        return
    assert "<title>Golden Jobs</title>" in page.replace("\n", "")
    assert "--brand-color: #b8860b" in page
    logo = "/static/base/images/logo.png" if running.kind.startswith("notebook-6") else "/static/logo/logo.png"
    assert logo in page


def test_the_gates_program_agrees_and_notices_a_stock_logo(running: Running):
    gate = ("python3", "/opt/branding/brand.py", "served", "http://127.0.0.1:8888")
    code, output = running.run(*gate)
    assert code == 0, output
    listed = json.loads(running.run("python3", "/opt/branding/brand.py", "list")[1])
    assert listed
    assert all(row["ours"] for row in listed)
    shown = {row["url"]: row["path"] for row in listed}
    ours, target = {
        "note": ("logo.png", "/opt/branding/static/logo/logo.png"),
        "lab-": ("logo.png", "/opt/branding/static/logo/logo.png"),
        "code": ("favicon.svg", shown.get("/_static/src/browser/media/favicon-dark-support.svg")),
    }[running.kind[:4]]
    if running.kind.startswith("notebook-6"):
        target = shown["/static/base/images/logo.png"]
    assert running.run("sh", "-c", f"cp {target} /tmp/ours && echo stock > {target}")[0] == 0
    code, output = running.run(*gate)
    running.run("cp", "/tmp/ours", str(target))
    assert code == 1
    assert f"does not serve our {ours}" in output


@pytest.mark.parametrize("running", ["code-server"], indirect=True)
def test_code_server_is_called_by_our_name_everywhere(running: Running):
    manifest = get(f"{running.address}/manifest.json").json()
    assert manifest["name"] == manifest["short_name"] == "Golden Jobs"
    page = code_server_page(running.address)[0]
    assert '<meta name="apple-mobile-web-app-title" content="Golden Jobs">' in page
    shown = re.search(r'id="vscode-workbench-web-configuration" data-settings="([^"]*)"', page)
    assert shown
    product = json.loads(html.unescape(shown.group(1)))["productConfiguration"]
    assert product["nameShort"] == product["nameLong"] == "Golden Jobs"


@pytest.mark.parametrize("running", ["notebook-7"], indirect=True)
def test_a_copy_of_a_stock_logo_anywhere_in_the_image_is_replaced(running: Running, bench: Bench):
    ours = hashlib.sha256((bench.logos / "logo.png").read_bytes()).hexdigest()
    # The copy, and the Jupyter of the base image, which is not the one on PATH here.
    code, output = running.run("sh", "-c", "sha256sum /srv/other/picture.png $(find /opt/venv -path '*/static/logo/logo.png')")
    assert code == 0, output
    assert [line.split()[0] for line in output.splitlines()] == [ours, ours]


def test_a_stock_logo_that_nothing_replaces_fails_the_build(bench: Bench, engine: Any):
    static = f'"$(dirname "{STOCK}")"'
    more = f'\nRUN cp "{STOCK}" {static}/picture.png && cp "{STOCK}" {static}/brand-logo.svg'
    done = bench.build({"left": dockerfile("notebook-7", more)})
    assert done.returncode != 0
    said = re.search(r"branding: nobody has said what replaces (\S+), (\S+): add a rule to branding/brand\.py", done.stdout)
    assert said, done.stdout[-3000:]
    assert [Path(path).name for path in said.groups()] == ["brand-logo.svg", "picture.png"]
    assert not engine.images(name="localhost/test/branding:left")


# -- what is declared --------------------------------------------------------------------------------------------------

BAD = {
    "a logo that is not an image": (
        "{logo: branding/README.md}",
        r"The logo \S+/branding/README\.md \({place}\) is not an image, or a damaged one: PNG, ICO, JPEG, WebP and GIF are allowed\.",
    ),
    "a logo that is not there": (
        "{logo: dockerfiles/OOB3/x.png}",
        r"The logo \S+/x\.png \({place}\) cannot be read: No such file or directory\.",
    ),
    "a colour that is none": ("{theme: {color: gold}}", r"The theme's color 'gold' \({place}\) is no colour: write it as '#b8860b'\."),
    "a name that nobody knows": (
        "{favcon: branding/favicon.ico}",
        r"course_branding\.favcon\. Supported parameters include: favicon, favicon_busy, favicon_terminal, logo, product_name, theme \({place}\)\.",
    ),
    "a text": ("branding/logo.png", r"argument 'course_branding' is of type str and we were unable to convert to dict: .* \({place}\)\."),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_branding_is_one_sentence_with_file_and_line_and_nothing_is_built(platform: Platform, engine: Any, case: str):
    value, sentence = BAD[case]
    catalogue = platform.project / "inventory" / "courses.yml"
    before = catalogue.read_text()
    head = before.partition("    OOB3:\n")[0] + "    OOB3:\n"
    refused(
        platform, engine, catalogue, head + f"      course_branding: {value}\n" + before.removeprefix(head), sentence, head.count("\n") + 1
    )


def test_a_logo_of_all_courses_that_is_not_an_image_is_one_sentence_with_file_and_line(platform: Platform, engine: Any):
    variables = platform.project / "inventory" / "group_vars" / "courses.yml"
    text = variables.read_text().replace("logo: branding/logo.png", "logo: branding/brand.py")
    line = text.partition("branding/brand.py")[0].count("\n") + 1
    refused(platform, engine, variables, text, r"The logo \S+/branding/brand\.py \({place}\) is not an image.*", line)


def refused(platform: Platform, engine: Any, path: Path, text: str, sentence: str, line: int) -> None:
    """With this text in the file, a build of OOB3 says the sentence and does nothing."""
    name = f"{platform.registry_address}/shaiic/ai-edu"
    before, images, tags = path.read_text(), engine.images(name=name, quiet=True), platform.tags("shaiic/ai-edu")
    assert text != before
    path.write_text(text)
    try:
        done = platform.run("ansible-playbook", "playbooks/build.yml", "-e", "course=OOB3")
    finally:
        path.write_text(before)
    assert done.returncode != 0
    said = [one.strip() for one in done.stdout.partition("failed   OOB3")[2].partition("PLAY RECAP")[0].splitlines()[1:] if one.strip()]
    assert len(said) == 1, done.stdout
    assert re.fullmatch(sentence.replace("{place}", re.escape(f"{path.relative_to(platform.project)}:{line}")), said[0]), said
    assert re.search(r"OOB3 .* changed=0 ", done.stdout)
    assert (engine.images(name=name, quiet=True), platform.tags("shaiic/ai-edu")) == (images, tags)
