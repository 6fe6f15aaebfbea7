"""docs/add-a-course.md, followed to the letter: its commands are read from the page and run in a clone of the project."""

from __future__ import annotations

import json
import os
import re
import uuid
from pathlib import Path

from PIL import Image

from tests.platform import CLUSTERS, Platform, get
from tests.support import ROOT

PAGE = ROOT / "docs" / "add-a-course.md"


def steps() -> dict[str, str]:
    """The page's five steps, each with its commands."""
    found = {}
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        found[title] = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    return found


def test_the_page_has_five_steps_and_each_has_commands():
    assert [title[0] for title in steps()] == ["1", "2", "3", "4", "5"]
    assert all(steps().values())


def test_a_course_that_is_added_by_the_page_alone_is_live_on_every_cluster(platform: Platform):
    for title, commands in steps().items():
        done = platform.run("sh", "-euc", commands)
        assert done.returncode == 0, f"{title}: {done.stdout[-3000:]}{done.stderr[-1000:]}"
    assert platform.tags("shaiic/tables")
    for cluster in CLUSTERS:
        url = platform.url(cluster, "OOB5")
        assert get(f"{url}/api").status_code == 200
        listing = get(f"{url}/api/contents/").json()["content"]
        assert "01-variables-and-loops.ipynb" in [one["name"] for one in listing]


def changed_layers(output: str) -> dict[str, str]:
    """From the build's own step report: instruction -> `cached`, or how long it ran."""
    return dict(re.findall(r"OOB5 \[\d+/\d+\] (.+?)  (cached|[\d.]+ s)$", output, re.MULTILINE))


def built(platform: Platform) -> dict[str, str]:
    done = platform.run("ansible-playbook", "playbooks/build.yml", "-e", "course=OOB5")
    assert done.returncode == 0, done.stdout[-3000:]
    report = changed_layers(done.stdout)
    assert report, done.stdout
    return report


def ran(report: dict[str, str]) -> list[str]:
    parts = {"nfs-common": "apt", "uv pip": "requirements", "courseware": "courseware", "logos": "branding", "clean up": "clean"}
    names = [next(name for sign, name in parts.items() if sign in step) for step, how in report.items() if how != "cached"]
    return list(dict.fromkeys(names))


def test_a_new_logo_a_new_requirement_and_a_new_notebook_run_only_what_they_must(platform: Platform):
    logo = platform.project / "branding" / "logo.png"
    content = logo.read_bytes()
    with Image.open(logo) as image:
        changed = image.convert("RGBA")
    changed.putpixel((0, 0), (*os.urandom(3), 255))
    changed.save(logo)
    try:
        assert ran(built(platform)) == ["branding", "clean"]
    finally:
        logo.write_bytes(content)  # other tests compare with it
    requirements = platform.project / "dockerfiles" / "OOB5" / "requirements.txt"
    requirements.write_text(requirements.read_text() + "sortedcontainers>=2.4,<3\n")
    assert ran(built(platform)) == ["requirements", "courseware", "branding", "clean"]
    repository = platform.state / "courseware" / "OOB5"
    (repository / f"{uuid.uuid4().hex}.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    author = "-c user.name=developer -c user.email=developer@localhost"
    assert platform.run("sh", "-c", f"cd {repository} && git add -A && git {author} commit -qm new").returncode == 0
    assert ran(built(platform)) == ["courseware", "branding", "clean"]


def refused(platform: Platform, course: str = "OOB5") -> str:
    before = platform.tags("shaiic/tables")
    done = platform.run("ansible-playbook", "playbooks/build.yml", "-e", f"course={course}")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert not re.search(r"\[\d+/\d+\] ", done.stdout), "nothing is built"
    assert platform.tags("shaiic/tables") == before
    return done.stdout


def edited(path: Path, old: str, new: str) -> str:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    return content


def test_bad_input_is_one_sentence_with_file_and_line_and_builds_nothing(platform: Platform):
    folder = platform.project / "dockerfiles" / "OOB5"
    catalogue = platform.project / "inventory" / "courses.yml"
    at = "inventory/courses.yml" + r":\d+"
    entry = "      course_version: v1.0\n      course_job: yamls/OOB5-tables.yaml\n"
    repository = "      course_courseware:\n        repository: /no/such/place\n        version: main\n"
    download = (
        "      course_downloads:\n        - path: data/x\n          url: file:///etc/hostname\n          sha256: '" + "0" * 64 + "'\n"
    )
    for path, old, new, sentence in [
        (
            folder / "Dockerfile.tables.j2",
            "FROM",
            "RUN {{ no_such_name }}\nFROM",
            r"dockerfiles/OOB5/Dockerfile\.tables\.j2:8: 'no_such_name'",
        ),
        (folder / "requirements.txt", "tabulate>=", "tabulate=>", r"dockerfiles/OOB5/requirements\.txt:1: .* is not a requirement"),
        (catalogue, entry, entry + repository, rf"The repository /no/such/place at 'main' cannot be had: .*\({at}\)"),
        (catalogue, entry, entry + download, rf"is another file than data/x has to be: .*\({at}\)"),
        (catalogue, entry, entry + "      course_branding:\n        logo: README.md\n", r"logo .*README\.md.* is not an image"),
        (catalogue, "shaiic/tables", "shaiic/ai-edu", rf"OOB5 and OOB3 have one image name, shaiic/ai-edu.*\({at} and {at}\)"),
    ]:
        content = edited(path, old, new)
        try:
            output = refused(platform)
        finally:
            path.write_text(content)
        lines = [line for line in output.splitlines() if re.search(sentence, line)]
        assert len(lines) == 1, output


def test_rendering_alone_stops_with_the_context_and_a_dockerfile_without_jinja_makes_the_same_image(platform: Platform):
    before = platform.tags("shaiic/tables")
    build = ("ansible-playbook", "playbooks/build.yml", "-e", "course=OOB5")
    output = platform.run(*build, "--tags", "render").stdout
    context = re.search(r"OOB5: (\S+) on build-local is what docker build gets", output)
    assert context, output
    assert not re.search(r"checks passed|pushed|\[\d+/\d+\] ", output)
    content = (Path(context.group(1)) / "Dockerfile").read_text()
    assert re.search(rf"^FROM {re.escape(platform.registry_address)}/", content, re.MULTILINE)
    plain = platform.project / "dockerfiles" / "OOB5" / "Dockerfile"
    plain.write_text(content)
    try:
        done = platform.run(*build, "-e", "course_dockerfile=dockerfiles/OOB5/Dockerfile")
    finally:
        plain.unlink()
    assert done.returncode == 0, done.stdout[-2000:]
    assert "changed=0" in done.stdout
    assert platform.tags("shaiic/tables") == before


def test_a_course_is_tried_without_registry_and_cluster(platform: Platform):
    before = platform.tags("shaiic/tables")
    done = platform.run("ansible-playbook", "playbooks/try.yml", "-e", "course=OOB5")
    assert done.returncode == 0, done.stdout[-2000:]
    try:
        address = re.search(r"OOB5 on build-local: (http://127\.0\.0\.1:\d+)", done.stdout)
        assert address, done.stdout
        assert platform.run("ansible-playbook", "playbooks/try.yml", "-e", "course=OOB5").stdout.count("changed=1") == 0
    finally:
        stopped = platform.run("ansible-playbook", "playbooks/try.yml", "-e", "course=OOB5", "-e", "state=stopped")
    assert stopped.returncode == 0
    assert platform.tags("shaiic/tables") == before
