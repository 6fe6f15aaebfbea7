"""docker_build on a real engine and a real registry with a password."""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.integration.image_modules import Play, build, push
from tests.support import Registry, run_module


@pytest.fixture(params=["buildkit", "classic"])
def by(course: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """The same options for each of the two builders."""
    return {**course, "name": f"{course['name']}-{request.param}", "builder": request.param}


def test_the_same_context_is_built_once_and_pushed_once(course: dict[str, Any], registry: Registry):
    first = build(course)
    assert first["changed"]
    assert [step["cached"] for step in first["steps"]][1:] == [False, False]
    pushed = push(course, first["tag"])
    assert pushed["changed"]
    assert set(pushed["digests"].values()) == {pushed["digest"]}
    assert registry.tags(course["name"].partition("/")[2]) == sorted(["v1", first["tag"]])

    again = build(course)
    assert not again["changed"]
    assert again["registry_digest"] == pushed["digest"]
    assert not push(course, again["tag"])["changed"]


def test_an_image_that_another_server_has_pushed_is_not_built_here(course: dict[str, Any], engine: Any):
    first = build(course)
    push(course, first["tag"])
    engine.remove_image(first["reference"], force=True)
    engine.remove_image(f"{course['name']}:v1", force=True)
    again = build(course)
    assert not again["changed"]
    assert again["image_id"] is None
    assert "already in the registry" in again["reason"]


def test_one_changed_byte_makes_a_new_image_and_moves_the_moving_tag(course: dict[str, Any]):
    first = build(course)
    before = push(course, first["tag"])
    (Path(course["context"]) / "index.html").write_text("our pagE")
    second = build(course)
    assert second["changed"]
    assert second["tag"] != first["tag"]
    after = push(course, second["tag"])
    assert after["digests"]["v1"] == after["digest"] != before["digest"]


def test_going_back_to_an_old_context_moves_the_tag_back_without_a_build(course: dict[str, Any]):
    page = Path(course["context"]) / "index.html"
    first = build(course)
    old = push(course, first["tag"])
    page.write_text("new")
    push(course, build(course)["tag"])
    page.write_text("our page")
    again = build(course)
    assert not again["changed"]
    back = push(course, again["tag"])
    assert back["changed"]
    assert back["pushed_tags"] == ["v1"]
    assert back["digests"]["v1"] == old["digest"]


def test_what_the_context_says_of_its_image_is_what_docker_build_finds(course: dict[str, Any], tmp_path: Path):
    with tarfile.open(tmp_path / "files.tar", "w") as archive:
        for path in Path(course["context"]).iterdir():
            archive.add(path, arcname=path.name)
    made = {**course, "context": str(tmp_path / "made")}
    options = {name: value for name, value in course.items() if name not in ("context", "log_path")}

    def asked() -> dict[str, Any]:
        files = {"dockerfile": "Dockerfile", "archive": str(tmp_path / "files.tar"), "cache": str(tmp_path / "cache")}
        answer = run_module("course_context", dest=made["context"], **files, build=options)
        assert not answer["failed"], answer
        return dict(answer["build"])

    before = asked()
    assert before["registry_digest"] is None
    built = build(made)
    assert built["changed"]
    assert {name: built[name] for name in ("reference", "tag", "context_digest")}.items() <= before.items()
    assert asked()["registry_digest"] is None
    pushed = push(course, built["tag"])
    after = asked()
    assert (after["registry_digest"], after["moving_registry_digest"], after["reference"]) == (
        pushed["digest"],
        pushed["digest"],
        built["reference"],
    )


def test_check_mode_says_what_it_would_do_and_does_nothing(course: dict[str, Any], registry: Registry, engine: Any):
    planned = build(course, "--check")
    assert planned["changed"]
    assert not engine.images(planned["reference"])
    assert push(course, planned["tag"], "--check")["source"] == "absent"
    assert registry.get(f"{course['name'].partition('/')[2]}/tags/list").status_code == 404


def files_of(engine: Any, image: str) -> dict[str, int]:
    """Paths and modes of the files that the course's Dockerfile put under /www."""
    container = engine.create_container(image, ["true"])["Id"]
    try:
        stream, _stat = engine.get_archive(container, "/www")
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            return {member.name: member.mode for member in tar if member.isfile()}
    finally:
        engine.remove_container(container, v=True)


def test_each_builder_builds_once_says_which_it_was_and_reports_the_image(by: dict[str, Any], engine: Any):
    first = build(by)
    assert first["changed"]
    assert ("classic builder: asked for" in first["builder"]) == (by["builder"] == "classic")
    image = engine.inspect_image(first["reference"])
    assert first["image_id"] == image["Id"]
    assert first["size_mb"] == round(image["Size"] / 1e6, 1)
    assert image["Config"]["Labels"]["golden-jobs.context-digest"] == first["context_digest"]
    assert "RUN echo built" in Path(first["log"]).read_text()
    names = [step["name"] for step in first["steps"]]
    assert any("COPY index.html" in name for name in names)
    assert any("RUN echo built" in name for name in names)
    again = build(by)
    assert not again["changed"]
    assert again["image_id"] == first["image_id"]
    assert again["steps"] == []


def test_both_builders_agree_on_the_digest_and_on_the_files(course: dict[str, Any], engine: Any):
    context = Path(course["context"])
    (context / ".dockerignore").write_text("secret/**\n!secret/kept\n*.tmp\n")
    (context / "secret").mkdir()
    for name in ("secret/kept", "secret/dropped", "x.tmp", "run.sh"):
        (context / name).write_text(name)
    (context / "run.sh").chmod(0o750)
    dockerfile = context / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "COPY . /www/\n")
    built = [build({**course, "name": f"{course['name']}-{builder}"}, builder=builder) for builder in ("buildkit", "classic")]
    assert built[0]["context_digest"] == built[1]["context_digest"]
    files = [files_of(engine, one["reference"]) for one in built]
    assert files[0] == files[1]
    assert {"www/secret/kept", "www/run.sh", "www/.dockerignore", "www/Dockerfile", "www/index.html", "www/built"} == set(files[0])
    assert stat.S_IMODE(files[0]["www/run.sh"]) == 0o750


def test_a_second_build_sends_the_builder_what_has_changed_alone(course: dict[str, Any]):
    context = Path(course["context"])
    (context / "data").write_bytes(os.urandom(8_000_000))
    (context / "Dockerfile").write_text((context / "Dockerfile").read_text() + "COPY data /data\n")
    build(course)
    first = re.findall(r"transferring context: ([\d.]+)([kM]?B)", Path(course["log_path"]).read_text())
    (context / "index.html").write_text("new")
    build(course)
    second = re.findall(r"transferring context: ([\d.]+)([kM]?B)", Path(course["log_path"]).read_text())
    assert any(unit == "MB" and float(size) >= 8 for size, unit in first), first
    assert not any(unit == "MB" for _size, unit in second), second


def edit(context: Path, how: str) -> None:
    page = context / "index.html"
    if how == "one byte":
        page.write_text("our pagE")
    elif how == "mode":
        page.chmod(0o600)
    elif how == "renamed":
        (context / "other").rename(context / "another")
    elif how == "ignored":
        (context / "notes.tmp").write_text("not for the image")
    elif how == "time":
        os.utime(page, (1, 1))


@pytest.mark.parametrize(
    ("how", "changed"), [("one byte", True), ("mode", True), ("renamed", True), ("ignored", False), ("time", False), ("nothing", False)]
)
def test_content_alone_decides(by: dict[str, Any], how: str, changed: bool):
    context = Path(by["context"])
    (context / "other").write_text("x")
    (context / ".dockerignore").write_text("*.tmp\n")
    first = build(by)
    edit(context, how)
    second = build(by)
    assert second["changed"] == changed
    assert (second["context_digest"] != first["context_digest"]) == changed


@pytest.mark.parametrize(
    "options",
    [
        {"build_args": {"WHO": "you"}},
        {"labels": {"org.opencontainers.image.vendor": "us"}},
        {"refresh": "2026-11"},
        {"dockerfile": "elsewhere"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_else_makes_another_image_and_moves_its_tag(by: dict[str, Any], options: dict[str, Any], tmp_path: Path, engine: Any):
    (Path(by["context"]) / "Dockerfile").write_text(
        (Path(by["context"]) / "Dockerfile").read_text().replace("RUN", "ARG WHO=me\nRUN echo $WHO > /who;")
    )
    if "dockerfile" in options:
        (tmp_path / "other.Dockerfile").write_text((Path(by["context"]) / "Dockerfile").read_text() + "RUN true\n")
        options = {"dockerfile": str(tmp_path / "other.Dockerfile")}
    first = build(by, tags=["latest"])
    assert first["tags"] == [first["reference"], f"{by['name']}:latest"]
    assert not build(by, tags=["latest"])["changed"]
    second = build(by, tags=["latest"], **options)
    assert second["changed"]
    assert second["image_id"] != first["image_id"]
    assert engine.inspect_image(f"{by['name']}:latest")["Id"] == second["image_id"]
    assert "elsewhere" not in str(files_of(engine, second["reference"]))
    if "labels" in options:
        assert engine.inspect_image(second["reference"])["Config"]["Labels"]["org.opencontainers.image.vendor"] == "us"


def test_a_tag_that_was_moved_by_hand_is_moved_back_and_reported(course: dict[str, Any], tiny_image: str, engine: Any):
    course = {**course, "tags": ["latest", "stable"]}
    first = build(course)
    engine.tag(tiny_image, course["name"], "latest", force=True)
    planned = build(course, "--check")
    assert planned["changed"]
    assert engine.inspect_image(f"{course['name']}:latest")["Id"] != first["image_id"]
    again = build(course)
    assert again["changed"]
    assert again["steps"] == []
    assert engine.inspect_image(f"{course['name']}:latest")["Id"] == first["image_id"]
    assert not build(course)["changed"]


def test_the_diff_names_what_changed_since_the_last_image_here(course: dict[str, Any], tmp_path: Path):
    first = build(course, build_args={"A": "1"})
    assert first["changes"] == ["no earlier image of this name is known on this build server"]
    (Path(course["context"]) / "index.html").write_text("new")
    (Path(course["context"]) / "more").write_text("more")
    planned = build(course, "--check", build_args={"A": "2"})
    assert planned["changed"]
    changes = "\n".join(planned["changes"])
    assert "build argument A: 1 -> 2" in changes
    assert "index.html" in changes
    assert "more added" in changes
    shown = Play(tmp_path, "docker_build", {**course, "build_args": {"A": "2"}}, "--check", "--diff").end()[1]
    assert "-build argument A 1" in shown
    assert "+build argument A 2" in shown


def test_a_base_image_that_moved_in_the_registry_makes_a_new_image_unless_pull_is_false(
    course: dict[str, Any], engine: Any, registry: Registry
):
    base = f"{registry.address}/test/moving-base"
    login = {"username": registry.username, "password": registry.password}

    def publish(label: str) -> None:
        image = engine.create_container(course_base, ["true"], labels={"which": label})["Id"]
        engine.commit(image, repository=base, tag="1")
        engine.remove_container(image, v=True)
        assert not any("error" in event for event in engine.push(base, tag="1", auth_config=login, stream=True, decode=True))

    course_base = (Path(course["context"]) / "Dockerfile").read_text().split()[1]
    publish("one")
    (Path(course["context"]) / "Dockerfile").write_text(f"FROM {base}:1\nCOPY index.html /www/index.html\n")
    first = build(course)
    publish("two")
    engine.tag(first["image_id"], base, "1", force=True)  # this engine's copy is out of date
    kept = build(course, "--check", pull=False)
    moved = build(course)
    assert moved["changed"]
    assert moved["base_images"] != first["base_images"]
    assert any(f"base image {base}:1" in line for line in moved["changes"])
    assert engine.inspect_image(moved["reference"])["Config"]["Labels"]["which"] == "two"
    assert kept["base_images"] != moved["base_images"]


def test_an_image_for_this_engine_alone_asks_no_registry(course: dict[str, Any], engine: Any):
    # Nothing listens on this port: a question to the registry would fail.
    (Path(course["context"]) / "Dockerfile").write_text("FROM scratch\nCOPY index.html /\n")
    alone = {**course, "name": "127.0.0.1:1/test/alone", "ask_registry": False}
    try:
        assert build(alone)["changed"]
        assert not build(alone)["changed"]
    finally:
        for image in engine.images("127.0.0.1:1/test/alone"):
            engine.remove_image(image["Id"], force=True)


def test_network_and_extra_hosts_reach_the_build(by: dict[str, Any]):
    dockerfile = Path(by["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN cat /etc/hosts /proc/net/dev\n")
    built = build(by, network="none", extra_hosts={"packages.example.com": "192.0.2.7"})
    log = Path(built["log"]).read_text()
    assert re.search(r"192\.0\.2\.7\s+packages\.example\.com", log)
    assert "eth0" not in log


def test_a_target_stage_is_built_alone(by: dict[str, Any]):
    dockerfile = Path(by["context"]) / "Dockerfile"
    base = dockerfile.read_text().split()[1]
    dockerfile.write_text(f"FROM {base} AS first\nRUN echo first\nFROM {base} AS second\nRUN false\n")
    assert build(by, target="first")["changed"]
    assert "RUN false ended with exit code 1" in build(by)["msg"]


def test_a_failing_step_is_named_with_line_output_and_log(by: dict[str, Any]):
    dockerfile = Path(by["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN for n in $(seq 40); do echo line $n; done; \\\n    echo the last words; false\n")
    failed = build(by)
    assert failed["failed"]
    assert "Dockerfile, line 4" in failed["msg"]
    assert "ended with exit code 1" in failed["msg"]
    assert failed["log"] in failed["msg"]
    assert failed["tail"] == [*(f"line {n}" for n in range(12, 41)), "the last words"]
    assert "line 1\n" in Path(failed["log"]).read_text()


@pytest.mark.parametrize(
    ("dockerfile", "sentence"),
    [
        ("FROM {base}\nCOPY nothing /\n", "line 2: COPY nothing /: the context {context} has no 'nothing', or .dockerignore excludes it"),
        ("FROM {base}\nCOPY hidden.tmp /\n", "has no 'hidden.tmp', or .dockerignore excludes it"),
        ("FROM {base}\nRUNN true\n", "unknown instruction: RUNN"),
        ("RUN true\n", "has no FROM instruction"),
    ],
)
def test_a_dockerfile_that_cannot_be_built_is_one_sentence(by: dict[str, Any], dockerfile: str, sentence: str, tiny_image: str):
    context = Path(by["context"])
    (context / ".dockerignore").write_text("*.tmp\n")
    (context / "hidden.tmp").write_text("x")
    (context / "Dockerfile").write_text(dockerfile.replace("{base}", tiny_image))
    failed = build(by)
    assert failed["failed"]
    assert sentence.replace("{context}", str(context)) in failed["msg"]
    assert "\n" not in failed["msg"]


def test_the_classic_builder_refuses_what_only_buildkit_can(course: dict[str, Any]):
    dockerfile = Path(course["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN --mount=type=cache,target=/c true\n")
    assert "line 4: RUN uses --mount, and only BuildKit can do that" in build(course, builder="classic")["msg"]
    assert "The option secrets is set" in build(course, builder="classic", secrets=[{"id": "x", "content": "y"}])["msg"]


def test_a_step_is_shown_while_it_runs_also_through_a_pipe(course: dict[str, Any], tmp_path: Path):
    dockerfile = Path(course["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN for n in $(seq 12); do echo at $n; sleep 1; done\n")
    play = Play(tmp_path, "docker_build", course)
    play.wait_for_line("RUN for n in $(seq 12)")
    # The running step's last line, although nothing of the step has ended.
    play.wait_for_line(": at ")
    assert play.process.poll() is None
    code, output = play.end()
    assert code == 0
    assert re.search(r"build-here \[4/4\] RUN for n in .* done  1\d s", output)
    assert re.search(r"slowest steps:\n  build-here   1\d s  \[4/4\] RUN for n in", output)
    assert "at 7" not in output.replace(": at 7", "")


def test_with_v_every_line_of_the_output_is_shown(course: dict[str, Any], tmp_path: Path):
    dockerfile = Path(course["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN echo one; echo two\n")
    code, output = Play(tmp_path, "docker_build", course, "-v").end()
    assert code == 0
    assert re.search(r"build-here #\d+ [\d.]+ one\n", output)
    assert re.search(r"build-here #\d+ [\d.]+ two\n", output)


def test_a_secret_is_mounted_and_leaves_no_trace(course: dict[str, Any], engine: Any):
    dockerfile = Path(course["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN --mount=type=secret,id=token cat /run/secrets/token; test -s /run/secrets/token\n")
    built = build(course, secrets=[{"id": "token", "content": "s3cr3t-value"}])
    assert "********" in Path(built["log"]).read_text()
    assert built["changed"]
    assert "s3cr3t-value" not in str(built)
    assert "s3cr3t-value" not in str(engine.history(built["reference"])) + str(engine.inspect_image(built["reference"]))
    assert "s3cr3t-value" not in Path(built["log"]).read_text()
    # Another site's secret is the same image.
    assert not build(course, secrets=[{"id": "token", "content": "other"}])["changed"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "Upper/Case"}, "lower-case letters"),
        ({"version": "-x"}, "The tag '-x' is not allowed"),
        ({"context": "/nowhere"}, "The context /nowhere is not a folder"),
        ({"dockerfile": "/nowhere/Dockerfile"}, "The Dockerfile /nowhere/Dockerfile cannot be read"),
        ({"tags": ["a b"]}, "The tag 'a b' is not allowed"),
        ({"secrets": [{"id": "t", "file": "/nowhere/token"}]}, "The file /nowhere/token of the secret 't' does not exist"),
        ({"docker_host": "tcp://127.0.0.1:1", "tls_ca": "/nowhere/ca.pem"}, "The file /nowhere/ca.pem of tls_ca does not exist"),
        ({"tls": True}, "The TLS options need docker_host"),
        ({"log_path": "/proc/nowhere/log"}, "The log /proc/nowhere/log cannot be written"),
        ({"docker_host": "unix:///nowhere.sock"}, "No Docker engine answers at unix:///nowhere.sock"),
        ({"registry_password": "wrong"}, "refuses user 'tester' or the password"),
    ],
)
def test_bad_input_is_one_sentence(course: dict[str, Any], options: dict[str, Any], sentence: str):
    failed = build(course, **options)
    assert failed["failed"]
    assert sentence in failed["msg"]
    assert "Traceback" not in failed["msg"]
    assert "\n" not in failed["msg"]


def test_a_base_image_that_cannot_be_had_is_missing_forbidden_or_behind_a_registry_that_is_down(course: dict[str, Any], registry: Registry):
    dockerfile = Path(course["context"]) / "Dockerfile"
    missing = f"{registry.address}/test/nothing:1"
    dockerfile.write_text(f"FROM {missing}\n")
    assert f"The base image {missing} does not exist" in build(course)["msg"]
    alone = {**course, "name": "alone/x", "ask_registry": False}
    assert f"The base image {missing} cannot be had: The registry {registry.address} wants a login" in build(alone)["msg"]
    dockerfile.write_text("FROM 127.0.0.1:1/test/base:1\n")
    assert "The base image 127.0.0.1:1/test/base:1 cannot be had: The registry 127.0.0.1:1 cannot be asked" in build(course)["msg"]


def test_a_registry_that_is_down_is_named(course: dict[str, Any]):
    (Path(course["context"]) / "Dockerfile").write_text("FROM scratch\nCOPY index.html /\n")
    failed = build(course, name="127.0.0.1:1/test/x")
    assert "The registry 127.0.0.1:1 cannot be asked" in failed["msg"]
