"""Each run leaves its record, whatever becomes of it, and tells the webhook; neither ever shows a secret or hinders the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import Clusters, clusters
from tests.hook import Hook
from tests.platform import Platform
from tests.sandbox import PASSWORD
from tests.support import ansible_environment, free_ports, power_failure, wait_for

#: A playbook of the project that asks nobody.
SMALL = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Say it
      ansible.builtin.fail:
        msg: "{{ words | default('') }}"
      when: words is defined
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in a git of its own, with one change that is not committed."""
    project = Platform.clone(tmp_path_factory.mktemp("clone")).project
    git = ["git", "-C", str(project), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (("init", "-q"), ("add", "playbooks"), ("commit", "-q", "-m", "a commit")):
        subprocess.run([*git, *words], check=True)
    (project / "playbooks" / "small.yml").write_text(SMALL)
    return project


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    with clusters(tmp_path_factory.mktemp("fleet") / "clusters", 2) as running:
        yield running


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return tmp_path / "reports"


def command(fleet: Clusters, playbook: str, *options: str) -> list[str]:
    return ["ansible-playbook", "-i", str(fleet.inventory()), f"playbooks/{playbook}.yml", *options]


def play(fleet: Clusters, project: Path, reports: Path, playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
    env = {**ansible_environment(project), "GOLDEN_JOBS_REPORTS": str(reports)}
    return subprocess.run(
        command(fleet, playbook, *options), cwd=project, env=env, capture_output=True, text=True, check=False, timeout=120
    )


def record_of(reports: Path) -> dict[str, Any]:
    (path,) = reports.glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def everything(reports: Path) -> str:
    return "".join(path.read_text() for path in reports.iterdir())


def test_a_rollout_says_who_when_from_which_commit_with_what_and_what_was_done_where(fleet: Clusters, project: Path, reports: Path):
    before = time.time()
    with Hook() as hook:
        inputs = ("-e", "course=OOB3", "-e", f"report_webhook_url={hook.url}", "-e", "golden_job_operator=alice@desk")
        done = play(fleet, project, reports, "rollout", *inputs)
    assert done.returncode == 0, done.stdout + done.stderr
    record = record_of(reports)
    head = subprocess.run(["git", "-C", str(project), "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert (record["playbook"], record["outcome"], record["by"], record["check"]) == ("rollout", "changed", "alice@desk", False)
    assert (record["commit"], record["dirty"]) == (head, True)
    assert record["inputs"] == {"course": "OOB3", "report_webhook_url": "******", "golden_job_operator": "alice@desk"}
    assert before - 1 < record["began_s"] < time.time()
    assert 0 < record["seconds"] < time.time() - before
    rows = {row["cluster"]: row for row in record["golden_jobs"]}
    assert set(rows) == {"c1", "c2"}
    for cluster, row in rows.items():
        live = fleet.current(cluster)
        assert (row["course"], row["action"], row["name"], row["outcome"]) == ("OOB3", "submit", live["name"], "ok")
        assert (row["revision"], row["image"]) == (fleet.revision(cluster), fleet.images["OOB3"])
        assert set(row["steps"]) >= {"plan", "submit", "prove", "take_over"}
        assert row["steps"]["prove"] > 0
    assert {host: numbers["failures"] for host, numbers in record["hosts"].items() if host in rows} == {"c1": 0, "c2": 0}
    ((where, message),) = hook.heard
    assert where == "/robot/send?access_token=t0p-s3cret"
    assert message["run"] == record
    (page,) = reports.glob("*.html")
    assert all(text in page.read_text() for text in ("alice@desk", head, fleet.revision("c1"), fleet.images["OOB3"]))
    assert "t0p-s3cret" not in everything(reports) + done.stdout + done.stderr
    assert {oct(path.stat().st_mode & 0o777) for path in reports.iterdir()} == {"0o640"}

    again = play(fleet, project, reports / "again", "rollout", *inputs)
    assert again.returncode == 0, again.stdout
    assert record_of(reports / "again")["outcome"] == "ok"
    assert len(hook.heard) == 1  # nothing has changed, and nobody is there


def test_a_rollout_that_fails_says_where_and_why(fleet: Clusters, project: Path, reports: Path):
    fleet.image(9)
    fleet.rules("c1", {"job": "golden-OOB3-.*", "run_s": 0, "exit_code": 3})
    try:
        with Hook() as hook:
            secret = ("-e", f"report_webhook_url={hook.url}", "-e", "report_webhook_form=dingtalk", "-e", "api_token=n0t-for-files")
            done = play(fleet, project, reports, "rollout", "-e", "course=OOB3", *secret)
    finally:
        fleet.rules("c1")
        fleet.image(1)
    assert done.returncode != 0
    record = record_of(reports)
    assert record["outcome"] == "failed"
    (failed,) = [row for row in record["golden_jobs"] if row["outcome"] == "failed"]
    assert (failed["cluster"], bool(failed["reason"])) == ("c1", True)
    assert [step for step in record["steps"] if (step["outcome"], step["cluster"]) == ("failed", "c1") and step["message"]]
    ((_where, message),) = hook.heard
    assert message["markdown"]["title"] == "Golden Jobs: rollout failed"
    assert failed["reason"].split(":")[0] in message["markdown"]["text"]
    assert "n0t-for-files" not in everything(reports) + done.stdout + done.stderr + json.dumps(hook.heard)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_interrupted_leaves_what_it_had(fleet: Clusters, project: Path, reports: Path, end: signal.Signals):
    fleet.image(20 + end)
    env = {**ansible_environment(project), "GOLDEN_JOBS_REPORTS": str(reports)}
    output = reports.with_suffix(".txt")
    with Hook() as hook, output.open("w") as file:
        argv = command(fleet, "rollout", "-e", "course=OOB3", "-e", f"report_webhook_url={hook.url}", "-e", "golden_job_bake_s=15")
        # Ctrl-C reaches a whole group.
        running = subprocess.Popen(argv, cwd=project, env=env, stdout=file, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            # Not while Ansible forks: it may lose a signal then.
            wait_for(lambda: "baking for 15 s" in output.read_text())
            if end != signal.SIGKILL:
                os.killpg(running.pid, end)
                running.wait(30)
        finally:
            if running.poll() is None:
                power_failure(running)
    fleet.image(1)
    record = record_of(reports)
    assert record["outcome"] == "unfinished", output.read_text()
    # What the clusters were to get; how far the cut-off cluster came, it remembers itself.
    assert {row["cluster"]: (row["action"], list(row["steps"])) for row in record["golden_jobs"]} == dict.fromkeys(
        ("c1", "c2"), ("submit", ["plan"])
    )
    told = end != signal.SIGKILL  # nobody can tell of a SIGKILL
    assert len(list(reports.glob("*.html"))) == told
    assert [message["title"] for _path, message in hook.heard] == ["Golden Jobs: rollout unfinished"] * told


def test_bad_input_is_recorded_with_its_sentence(fleet: Clusters, project: Path, reports: Path):
    done = play(fleet, project, reports, "adopt", "-e", "cluster=nowhere", "-e", "job=x", "-e", "course=DS1")
    assert done.returncode != 0
    record = record_of(reports)
    assert (record["playbook"], record["outcome"], record["inputs"]["cluster"]) == ("adopt", "failed", "nowhere")
    assert record["steps"][-1]["message"].startswith("Unknown cluster nowhere: give -e cluster=NAME; known: c1, c2")


def test_what_cannot_be_written_or_told_is_a_warning_and_the_run_goes_on(fleet: Clusters, project: Path, tmp_path: Path):
    down = f"http://127.0.0.1:{free_ports(1)}/robot?access_token=t0p-s3cret"
    (tmp_path / "file").write_text("")
    options = ("-e", f"report_webhook_url={down}", "-e", "report_webhook_on=always")
    done = play(fleet, project, tmp_path / "file" / "reports", "small", *options)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0, said
    assert "cannot be written: Not a directory." in said
    assert "The webhook at 127.0.0.1 does not answer (ConnectionError)." in said
    assert "t0p-s3cret" not in said
    assert "Traceback" not in said
    odd = play(fleet, project, tmp_path / "reports", "small", *options, "-e", "report_webhook_form=pigeon")
    assert odd.returncode == 0
    assert "allowed: json, dingtalk, wecom" in " ".join((odd.stdout + odd.stderr).split())


def test_secrets_are_masked_wherever_a_task_repeats_them_and_only_the_newest_records_stay(fleet: Clusters, project: Path, reports: Path):
    words = f"p4ss-in-a-file and k3y-given, {PASSWORD}"
    (project / "small.json").write_text(json.dumps({"nested": {"db_password": "p4ss-in-a-file"}, "words": words}))
    secrets = ("-e", "@small.json", "-e", "ssh_passphrase=k3y-given", "-e", "ansible_become_password=r00t-pass")
    done = play(fleet, project, reports, "small", *secrets)
    assert done.returncode != 0
    record = record_of(reports)
    assert record["steps"][-1]["message"] == "****** and ******, ******"
    assert record["inputs"]["nested"] == {"db_password": "******"}
    text = everything(reports)
    assert not [secret for secret in ("p4ss-in-a-file", "k3y-given", "r00t-pass", PASSWORD) if secret in text]

    config = project / "ansible.cfg"
    before = config.read_text()
    config.write_text(before + "\n[callback_golden_jobs_report]\nkeep = 2\n")
    try:
        kept = [
            sorted(path.name for path in reports.glob("*.json"))
            for _run in range(2)
            if not play(fleet, project, reports, "small").returncode
        ]
    finally:
        config.write_text(before)
    assert [len(names) for names in kept] == [2, 2]
    assert kept[0][0] not in kept[1]
    assert len(list(reports.glob("*.html"))) == 2
