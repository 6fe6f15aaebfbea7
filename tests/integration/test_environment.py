"""A student's environment from the live Golden Job: what `playbooks/environment.yml` promises, with real containers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.platform import Platform, get
from tests.sandbox import PASSWORD, Sandbox, ensure_job, sandbox
from tests.support import ROOT, Registry, ansible_environment

GOLDEN = "golden-OOB3-0123abcd-1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("environment"), containers=True, settle_s=0.1, poll_s=0.1) as running:
        yield running


@pytest.fixture(scope="module")
def golden(cluster: Sandbox, tiny_image: str, registry: Registry) -> str:
    """A Golden Job that is live: an image from a registry with a password, and a page at /api."""
    auth = {"username": registry.username, "password": "<% $secrets.registry_password %>", "registryuri": registry.address}
    role = {
        "instances": 1,
        "dockerImage": "course",
        "resourcePerInstance": {"cpu": 1, "memoryMB": 64, "gpu": 0, "ports": {"http": 1}},
        "commands": ["echo course > /api", "exec httpd -f -p $PAI_PORT_LIST_taskrole_0_http -h /"],
    }
    image = {"type": "dockerimage", "name": "course", "uri": tiny_image, "auth": auth}
    job = {"protocolVersion": 2, "name": "any", "type": "job", "prerequisites": [image], "taskRoles": {"taskrole": role}}
    secrets = {"registry_password": registry.password}
    done = ensure_job(cluster, name=GOLDEN, job=job, secrets=secrets, tags=["golden-job:OOB3", "golden-current"], wait_timeout_s=90.0)
    assert not done["failed"], done["msg"]
    return GOLDEN


@pytest.fixture
def play(cluster: Sandbox, registry: Registry, tmp_path: Path) -> Any:
    """Run the playbook with this inventory: one cluster, one registry, and the project's catalogue."""
    site = {
        "registries": {
            "hosts": {
                "reg": {
                    "registry_address": registry.address,
                    "registry_username": registry.username,
                    "registry_password": registry.password,
                }
            }
        },
        "pai_clusters": {"hosts": {"pai-x": {"pai_address": cluster.proxy_url, "pai_username": "op", "pai_password": PASSWORD}}},
    }
    (tmp_path / "site.yml").write_text(json.dumps(site))

    def run(*options: str, **wishes: str) -> subprocess.CompletedProcess[str]:
        wishes = {"course": "OOB3", "student": "alice", "cluster": "pai-x", **wishes}
        extra = [option for key, value in wishes.items() if value for option in ("-e", f"{key}={value}")]
        command = ["ansible-playbook", "-i", "inventory/courses.yml", "-i", str(tmp_path / "site.yml"), "playbooks/environment.yml"]
        cluster.proxy.log.clear()
        done = subprocess.run(
            [*command, *extra, *options], cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, check=False
        )
        assert registry.password not in done.stdout + done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done

    return run


def changed(done: subprocess.CompletedProcess[str]) -> int:
    return sum(int(number) for number in re.findall(r"changed=(\d+)", done.stdout))


def state(cluster: Sandbox, name: str) -> str | None:
    row = cluster.job(name)
    return row["state"] if row else None


def writes(cluster: Sandbox) -> list[str]:
    return [call for call in cluster.requests if not call.startswith("GET") and "/authn/" not in call]


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"course": "OOB9"}, "Unknown course OOB9: give -e course=NAME; known: OOB1, OOB2, OOB3, OOB4."),
        ({"course": ""}, "No course is named: give -e course=NAME"),
        ({"cluster": "pai-z"}, "Unknown cluster pai-z: give -e cluster=NAME; known: pai-x."),
        ({"cluster": ""}, "No cluster is named: give -e cluster=NAME; known: pai-x."),
        ({"student": "alice-b"}, "The student alice-b cannot be part of a job name: give -e student=NAME, 1 to 40 of A-Z a-z 0-9 and _"),
        ({"student": ""}, "No student is named"),
        ({"state": "paused"}, "Unknown state paused: give -e state=running (the default) or -e state=stopped."),
    ],
)
def test_bad_input_is_refused_before_the_cluster_is_asked_anything(play: Any, cluster: Sandbox, wishes: dict[str, str], message: str):
    done = play(**wishes)
    assert done.returncode != 0
    assert message in " ".join(done.stdout.split()), done.stdout
    assert cluster.requests == []


def test_a_course_without_a_golden_job_says_what_to_do(play: Any, cluster: Sandbox):
    done = play(course="OOB1")
    assert done.returncode != 0
    assert (
        "pai-x: the course OOB1 has no running Golden Job to clone; bring one up with ansible-playbook rebuild.yml -e course=OOB1."
        in " ".join(done.stdout.split())
    )
    assert writes(cluster) == []


def test_check_mode_touches_nothing(play: Any, cluster: Sandbox, golden: str):
    done = play("--check", "--diff", student="carol")
    assert done.returncode == 0, done.stdout
    assert changed(done) == 1
    assert f"cloned from {golden}" in done.stdout
    assert writes(cluster) == []
    assert cluster.job("env-OOB3-carol-1") is None


def test_a_student_gets_an_environment_keeps_it_and_ends_it(play: Any, cluster: Sandbox, golden: str):
    first = play()
    assert first.returncode == 0, first.stdout + first.stderr
    url = re.search(rf"OOB3 for alice on pai-x: (http://\S+)  \(env-OOB3-alice-1, cloned from {golden}\)", first.stdout)
    assert url, first.stdout
    assert get(f"{url[1]}/api").text == "course\n"
    assert state(cluster, "env-OOB3-alice-1") == "RUNNING"

    again = play()
    assert (again.returncode, changed(again)) == (0, 0)
    assert f"{url[1]}  (env-OOB3-alice-1, cloned from {golden})" in again.stdout
    assert writes(cluster) == []

    planned = play("--check", state="stopped")
    assert (planned.returncode, changed(planned), writes(cluster)) == (0, 1, [])
    assert state(cluster, "env-OOB3-alice-1") == "RUNNING"

    ended = play(state="stopped")
    assert (ended.returncode, changed(ended)) == (0, 1), ended.stdout
    assert state(cluster, "env-OOB3-alice-1") == "STOPPED"
    assert state(cluster, golden) == "RUNNING"
    ended_again = play(state="stopped")
    assert (ended_again.returncode, changed(ended_again)) == (0, 0)

    second = play()
    assert "(env-OOB3-alice-2, cloned from" in second.stdout  # names are never freed


def test_the_golden_job_of_the_real_course_is_a_good_template(platform: Platform):
    wishes = ["-e", "course=OOB3", "-e", "student=alice", "-e", "cluster=pai-a"]
    before = platform.snapshot()
    done = platform.run("ansible-playbook", "playbooks/environment.yml", *wishes)
    assert done.returncode == 0, done.stdout + done.stderr
    url = re.search(r"OOB3 for alice on pai-a: (http://\S+)  \(env-OOB3-alice-\d+, cloned from golden-OOB3-", done.stdout)
    assert url, done.stdout
    assert url[1] != platform.url("pai-a")
    assert get(f"{url[1]}/api").json()["version"]  # Jupyter, in a container of its own
    assert platform.run("ansible-playbook", "playbooks/environment.yml", *wishes, "-e", "state=stopped").returncode == 0
    assert platform.snapshot() == before
