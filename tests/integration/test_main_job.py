"""The main job on real input: `make demo` in a fresh clone, then what an operator does from there on.

The tests of this file build on each other in the order in which they stand: one platform, one story.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.platform import CLUSTERS, Platform, get
from tests.support import power_failure


def recap(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, int]]:
    """Host -> counters of the play recap."""
    hosts = {}
    for line in done.stdout.partition("PLAY RECAP")[2].splitlines()[1:]:
        if ":" in line:
            host, _, counters = line.partition(":")
            hosts[host.strip()] = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", counters)}
    return hosts


def changed(done: subprocess.CompletedProcess[str]) -> int:
    return sum(counters["changed"] for counters in recap(done).values())


def test_make_demo_ends_with_urls_that_serve_jupyter_with_our_logo(platform: Platform):
    assert platform.demo is not None
    assert platform.demo.returncode == 0, platform.demo.stdout[-3000:] + platform.demo.stderr[-2000:]
    urls = set(re.findall(r"http://127\.0\.0\.1:\d+", platform.demo.stdout.partition("PLAY RECAP")[2]))
    assert {platform.url(cluster) for cluster in CLUSTERS} <= urls
    logo = hashlib.sha256((platform.project / "branding" / "logo.png").read_bytes()).hexdigest()
    for cluster in CLUSTERS:
        url = platform.url(cluster)
        assert get(f"{url}/api").json()["version"]
        assert hashlib.sha256(get(f"{url}/static/logo/logo.png").content).hexdigest() == logo


def test_secrets_are_in_no_output_image_or_job(platform: Platform, engine: Any):
    assert platform.demo is not None
    texts = [platform.demo.stdout, platform.demo.stderr]
    for image in engine.images():
        for tag in image["RepoTags"] or []:
            if tag.startswith(platform.registry_address):
                texts.append(str(engine.history(tag)) + str(engine.inspect_image(tag)))
    for cluster in CLUSTERS:
        for name in platform.jobs(cluster):
            texts.append(str(platform.api(cluster, f"jobs/operator~{name}/config")))
    for secret in ("registry", "pai"):
        assert not any(platform.secret(secret) in text for text in texts)


def test_a_second_run_changes_nothing(platform: Platform):
    before = platform.snapshot()
    again = platform.rebuild()
    assert again.returncode == 0, again.stdout
    assert {host: counters["changed"] for host, counters in recap(again).items()} == dict.fromkeys(recap(again), 0)
    assert platform.snapshot() == before


def test_up_again_changes_nothing(platform: Platform):
    again = platform.run("ansible-playbook", "playbooks/local.yml")
    assert again.returncode == 0, again.stdout
    assert changed(again) == 0, again.stdout


def commit(platform: Platform, course: str = "OOB3") -> str:
    """One courseware commit more; its id."""
    repository = platform.state / "courseware" / course
    (repository / f"lesson-{time.time_ns()}.txt").write_text("one lesson more\n")
    author = ["-c", "user.name=developer", "-c", "user.email=developer@localhost"]
    subprocess.run(["git", "-C", str(repository), "add", "-A"], check=True)
    subprocess.run(["git", "-C", str(repository), *author, "commit", "-qm", "one lesson more"], check=True)
    return subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_check_mode_shows_the_plan_and_touches_nothing(platform: Platform):
    commit(platform)
    before = platform.snapshot()
    planned = platform.rebuild("--check", "--diff")
    assert planned.returncode == 0, planned.stdout
    assert "would" in planned.stdout
    assert platform.snapshot() == before


def test_one_courseware_commit_more_replaces_the_golden_job_after_it_has_answered(platform: Platform):
    before = platform.snapshot()
    old = {cluster: platform.current(cluster) for cluster in CLUSTERS}
    rebuilt = platform.rebuild()
    assert rebuilt.returncode == 0, rebuilt.stdout
    assert re.search(r"RUN uv pip install -r requirements\.aiedu\.txt  cached", rebuilt.stdout), "the requirements layer is reused"
    assert len(platform.tags("shaiic/ai-edu")) == len(before["tags"]) + 1
    for cluster in CLUSTERS:
        jobs = platform.jobs(cluster)
        assert len(jobs) == len(before["jobs"][cluster]) + 1
        new = platform.current(cluster)
        stopped = jobs[old[cluster]["name"]]
        assert stopped["state"] == "STOPPED"
        assert "golden-current" not in stopped["tags"]
        assert new["name"] != stopped["name"]
        # The old one went only after the new one ran.
        assert stopped["completedTime"] > new["launchedTime"]
        assert get(f"{platform.url(cluster)}/api").status_code == 200


def failing(platform: Platform, *options: str) -> str:
    """A rebuild that has to fail before it touches the registry or a cluster; what it printed."""
    before = platform.snapshot()
    done = platform.rebuild(*options)
    assert done.returncode != 0, done.stdout
    assert platform.snapshot() == before
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def template(platform: Platform) -> Iterator[Path]:
    """The course's Dockerfile template, restored afterwards."""
    path = platform.project / "dockerfiles" / "OOB3" / "Dockerfile.aiedu.j2"
    content = path.read_text()
    yield path
    path.write_text(content)


def test_a_logo_that_is_not_ours_stops_the_run_before_the_push(platform: Platform, template: Path):
    template.write_text(re.sub(r".*branding.*\n", "", template.read_text()))
    assert "serves other bytes" in failing(platform)


def test_a_failing_run_stops_the_run_before_the_push(platform: Platform, template: Path):
    template.write_text(template.read_text() + "RUN echo this cannot work; false\n")
    output = failing(platform)
    assert "ended with exit code 1" in output
    assert "this cannot work" in output


def test_an_unknown_variable_in_a_template_is_named(platform: Platform, template: Path):
    template.write_text(template.read_text() + "RUN echo {{ no_such_variable }}\n")
    output = failing(platform)
    assert "no_such_variable" in output
    assert "Dockerfile.aiedu.j2" in output


def test_a_container_that_does_not_answer_stops_the_run_before_the_push(platform: Platform, template: Path):
    template.write_text(template.read_text() + 'RUN printf "#!/bin/sh\\nexec sleep 1000\\n" > "$(command -v jupyter)"\n')
    assert "did not answer /api with 200 within 5 s" in failing(platform, "-e", "course_image_wait_timeout_s=5")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("-e", "registry_address=127.0.0.1:1"), "127.0.0.1:1"),
        (("-e", "registry_password=wrong"), "refuses user 'golden' or the password"),
        (("-e", "pai_address=http://127.0.0.1:1"), "http://127.0.0.1:1"),
        (("-e", "pai_password=wrong-password"), "password"),
        (("-e", "course=OOB9"), "Unknown course OOB9"),
        (("-e", "course="), "No course is named"),
    ],
)
def test_bad_input_is_one_sentence_and_touches_nothing(platform: Platform, options: tuple[str, ...], sentence: str):
    lines = [line.strip() for line in failing(platform, *options).splitlines() if sentence in line]
    assert lines
    assert all(len(line) < 400 for line in lines)


@pytest.mark.parametrize("moment", ["building", "pushing", "RUNNING"])
def test_a_run_that_is_killed_is_completed_by_the_same_command(platform: Platform, moment: str):
    signs = {"building": "RUN", "pushing": "checks passed", "RUNNING": ": runs at "}
    commit(platform)
    command = ["ansible-playbook", "rebuild.yml", "-e", "course=OOB3"]
    with subprocess.Popen(
        command, cwd=platform.project, env=platform.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if signs[moment] in line:
                break
        power_failure(run)
    count = {cluster: len(platform.jobs(cluster)) for cluster in CLUSTERS}
    completed = platform.rebuild()
    assert completed.returncode == 0, completed.stdout
    for cluster in CLUSTERS:
        assert len(platform.jobs(cluster)) <= count[cluster] + 1
        assert get(f"{platform.url(cluster)}/api").status_code == 200
    assert changed(platform.rebuild()) == 0


def test_a_restarted_cluster_still_has_its_jobs(platform: Platform):
    before = platform.snapshot()
    pid = int((platform.state / "pai-a" / "pai-sandbox-pai-a.pid").read_text().split()[1])
    os.kill(pid, signal.SIGKILL)
    again = platform.run("ansible-playbook", "playbooks/local.yml", "--limit", "pai_clusters")
    assert again.returncode == 0, again.stdout
    assert platform.snapshot() == before
    assert get(f"{platform.url('pai-a')}/api").status_code == 200


def test_a_course_that_fails_does_not_stop_the_others_and_fails_the_run(platform: Platform):
    before = platform.current("pai-a")["name"]
    commit(platform)
    broken = platform.project / "dockerfiles" / "OOB1" / "Dockerfile.bartu.j2"
    content = broken.read_text()
    broken.write_text(content + "RUN {{ no_such_variable }}\n")
    done = platform.rebuild(course="OOB1,OOB3")
    broken.write_text(content)
    assert done.returncode != 0
    assert "no_such_variable" in done.stdout
    assert platform.current("pai-a")["name"] != before
    assert not platform.jobs("pai-a", "OOB1")


def test_all_courses_reach_both_clusters(platform: Platform):
    done = platform.rebuild(course="all")
    assert done.returncode == 0, done.stdout[-3000:]
    for course in ("OOB1", "OOB2", "OOB3", "OOB4"):
        for cluster in CLUSTERS:
            assert get(f"{platform.url(cluster, course)}/api").status_code == 200
    assert changed(platform.rebuild(course="all")) == 0


def test_down_stops_what_up_started_and_nothing_else(platform: Platform, engine: Any):
    ours = {"label": f"golden-jobs.sandbox-state={platform.state / 'pai-a'}"}
    assert engine.containers(filters=ours)
    others = {one["Id"] for one in engine.containers(all=True)} - {
        one["Id"]
        for one in engine.containers(all=True)
        if one["Labels"].get("golden-jobs.sandbox-state", "").startswith(str(platform.state))
    }
    started_engine = (platform.state / "engine" / "dockerd.pid").exists()
    done = platform.run("make", "down")
    assert done.returncode == 0, done.stdout + done.stderr
    if started_engine:
        assert not (platform.state / "engine" / "dockerd.pid").exists()
        # The tests that follow need one again.
        assert platform.run("make", "up").returncode == 0
    else:
        assert engine.ping()
        assert not engine.containers(all=True, filters=ours)
        assert others <= {one["Id"] for one in engine.containers(all=True)}
        with pytest.raises(requests.ConnectionError):
            get(f"http://{platform.registry_address}/v2/")
