from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import buildkit, image_build
from ansible.module_utils.golden_jobs.engine import ENGINE_SPEC, Engine
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

from tests.unit.test_classic import job

NO_CLI = "No docker CLI here can build with BuildKit (none is installed): install docker-buildx."


def choose(builder: str, dockerfile: str = "FROM scratch\n") -> Any:
    engine: Any = SimpleNamespace(cli_options=list)
    return image_build._builder({"builder": builder, "secrets": []}, engine, job(dockerfile))


@pytest.fixture
def no_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_found(options: Any) -> None:
        raise GoldenJobsError(NO_CLI)

    monkeypatch.setattr(buildkit, "find_cli", none_found)


@pytest.mark.usefixtures("no_cli")
def test_without_a_cli_that_can_auto_takes_the_classic_builder_and_says_why():
    assert choose("auto")[1] == f"the classic builder: {NO_CLI.rstrip('.')}"


@pytest.mark.usefixtures("no_cli")
def test_without_a_cli_that_can_buildkit_is_refused():
    with pytest.raises(GoldenJobsError, match="No docker CLI here can"):
        choose("buildkit")


@pytest.mark.usefixtures("no_cli")
def test_without_a_cli_that_can_a_dockerfile_that_needs_buildkit_is_refused_by_its_line():
    with pytest.raises(GoldenJobsError, match="line 2: RUN uses --mount"):
        choose("auto", "FROM scratch\nRUN --mount=type=cache,target=/c true\n")


def test_auto_takes_the_cli_that_was_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(buildkit, "find_cli", lambda options: buildkit.Cli("/usr/bin/docker", "it can"))
    assert choose("auto")[1] == "it can"


TLS = {"tls": False, "tls_ca": None, "tls_cert": None, "tls_key": None, "tls_verify": True}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tls": True}, "The TLS options need docker_host"),
        ({"docker_host": "tcp://x:2376", "tls_cert": "/etc/hostname"}, "tls_cert and tls_key belong together"),
        ({"docker_host": "tcp://x:2376", "tls_ca": "/nowhere.pem"}, "The file /nowhere.pem of tls_ca does not exist"),
    ],
)
def test_tls_options_that_cannot_work_are_refused_before_anything_is_asked(options: dict[str, Any], sentence: str):
    with pytest.raises(GoldenJobsError, match=sentence):
        Engine({**dict.fromkeys(ENGINE_SPEC), **TLS, "timeout_s": 1, **options}, "docker.io")


def test_the_slowest_part_of_what_changed_is_not_a_whole_dockerfile(tmp_path: Any):
    said: list[str] = []
    progress: Any = SimpleNamespace(say=said.append)
    image_build._say_changes(["build argument A: 1 -> 2", "--- Dockerfile of the last image", "+++ Dockerfile", "+RUN x"], progress)
    assert said == ["changed: the Dockerfile", "changed: build argument A: 1 -> 2"]
