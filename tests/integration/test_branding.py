"""Every logo URL of every Jupyter that a base image may have, on small images; and what is said of a branding that is none.

code-server's column of the matrix is in `tests/scenarios/test_branding.py`: it is compiled.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.branded import NAME, Bench, Kind, Running, started
from tests.platform import Platform, get

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
#: A Jupyter of the image's own, in front of that of the base image.
GROUND = """\
FROM {{ base }}
RUN python3 -m venv --without-pip /opt/under-test
ENV VIRTUAL_ENV=/opt/under-test PATH=/opt/under-test/bin:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
"""
#: A stock logo in the image's one folder of such, as a shell expression.
STOCK = "$(find /opt/under-test -path '*/static/logo/logo.png')"
COPY = f'\nRUN install -D "{STOCK}" /srv/other/picture.png'
NOTEBOOK_6 = "exec jupyter notebook --NotebookApp.token=secret --allow-root --no-browser --ip=0.0.0.0 --port=8888"
NOTEBOOK_7 = "exec jupyter notebook --IdentityProvider.token=secret --allow-root --no-browser --ip=0.0.0.0 --port=8888"
KINDS = {
    "notebook-6.4": Kind(GROUND + "{{ jupyter.install('notebook-6.4') }}", NOTEBOOK_6, {**EVERYWHERE, **CLASSIC}),
    "notebook-6.5": Kind(GROUND + "{{ jupyter.install('notebook-6.5') }}", NOTEBOOK_6, {**EVERYWHERE, **CLASSIC}),
    # A copy of the stock logo lies in it where no Jupyter is.
    "notebook-7": Kind(GROUND + "{{ jupyter.install('notebook-7') }}" + COPY, NOTEBOOK_7, {**EVERYWHERE, **SERVER}),
    "notebook-7-with-nbclassic": Kind(
        GROUND + "{{ jupyter.install('notebook-7') }}\n{{ python.packages(['nbclassic>=1.3,<2']) }}",
        NOTEBOOK_7,
        {**EVERYWHERE, **SERVER, **UNDER_SERVER},
    ),
    "lab-4": Kind(GROUND + "{{ jupyter.install('lab-4') }}", NOTEBOOK_7.replace(" notebook ", " lab "), {**EVERYWHERE, **SERVER}),
}


@pytest.fixture(scope="module")
def bench(platform: Platform, engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(platform, tmp_path_factory.mktemp("matrix"))
    yield made
    made.remove(engine)


@pytest.fixture(scope="module")
def images(bench: Bench) -> None:
    done = bench.build({name: kind.dockerfile for name, kind in KINDS.items()})
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture(scope="module", params=KINDS)
def running(request: pytest.FixtureRequest, images: None, engine: Any) -> Iterator[Running]:
    with started(engine, request.param, KINDS[request.param]) as container:
        yield container


def test_each_logo_address_serves_our_bytes(running: Running, bench: Bench):
    assert not running.wrong(KINDS[running.name].shown, bench.logos)


def test_the_log_in_page_has_our_name_and_logo(running: Running):
    page = get(f"{running.address}/login?next=%2F").text
    assert "<title>Golden Jobs</title>" in page.replace("\n", "")
    assert "--brand-color: #b8860b" in page
    logo = "/static/base/images/logo.png" if running.name.startswith("notebook-6") else "/static/logo/logo.png"
    assert logo in page


def test_the_gates_program_agrees_and_notices_a_stock_logo(running: Running):
    code, output = running.gate()
    assert code == 0, output
    listed = running.listed()
    assert listed
    assert all(row["ours"] for row in listed.values())
    shown = {row["url"]: path for path, row in listed.items()}
    code, output = running.gate_with_stock(shown.get("/static/base/images/logo.png", "/opt/branding/static/logo/logo.png"))
    assert code == 1
    assert "does not serve our logo.png" in output


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
    done = bench.build({"left": GROUND + "{{ jupyter.install('notebook-7') }}" + more})
    assert done.returncode != 0
    said = re.search(r"branding: nobody has said what replaces (\S+), (\S+): add a rule to branding/brand\.py", done.stdout)
    assert said, done.stdout[-3000:]
    assert [Path(path).name for path in said.groups()] == ["brand-logo.svg", "picture.png"]
    assert not engine.images(name=f"{NAME}:left")


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
