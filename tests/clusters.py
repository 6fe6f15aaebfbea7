"""Several PAI sandboxes in the test's process and an inventory for them: what the rollout playbooks are run against."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.golden_jobs import golden_job
from ansible.module_utils.golden_jobs.pai_client import PaiClient

from tests.sandbox import PASSWORD, USERS, remove_containers
from tests.support import ROOT, ansible_environment, free_ports

from pai_sandbox.server import Sandboxes  # isort: skip
from pai_sandbox.settings import Settings  # isort: skip

JOB = """\
protocolVersion: 2
name: golden
type: job
prerequisites:
- {type: dockerimage, name: image, uri: "any:1"}
taskRoles:
  web:
    instances: 1
    dockerImage: image
    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0, ports: {http: 1}}
    commands:
    - COMMAND
"""


class Clusters:
    """Clusters `c1`, `c2` … with the user `op`; courses with an image each, which a test changes to have something to roll out."""

    def __init__(self, folder: Path, sandboxes: Sandboxes, names: list[str], courses: list[str], command: str) -> None:
        self.folder = folder
        self.names = names
        self.sandboxes = sandboxes
        self.registry: dict[str, Any] = {"registry_address": "r.example:5"}
        #: What this run knows of each course's image; an empty text for nothing.
        self.images = dict.fromkeys(courses, "r.example:5/a/course:v1-000000000001")
        self.course_vars: dict[str, dict[str, Any]] = {course: {} for course in courses}
        self.host_vars: dict[str, dict[str, Any]] = {name: {} for name in names}
        self.vars: dict[str, Any] = {
            "golden_job_probes": [],
            "golden_job_bake_s": 0,
            "golden_job_start_timeout_s": 20,
            "golden_job_probe_timeout_s": 5,
            "golden_job_patience_s": 20,
            "rollout_serial": [1, "100%"],
        }
        (folder / "job.yaml").write_text(JOB.replace("COMMAND", json.dumps(command)))

    # ------------------------------------------------------------------------------------------ what is run

    def inventory(self) -> Path:
        """The inventory as the test wants it now."""
        folder = self.folder / "inventory"
        folder.mkdir(exist_ok=True)
        if not (folder / "group_vars").exists():
            (folder / "group_vars").symlink_to(ROOT / "inventory" / "group_vars")
        courses = {
            course: {
                "course_image": "a/course",
                "course_version": "v1",
                "course_job": str(self.folder / "job.yaml"),
                **({"course_image_reference": image} if image else {}),
                "course_registry": "registry",
                **self.course_vars[course],
            }
            for course, image in self.images.items()
        }
        clusters = {
            name: {"pai_address": self.sandboxes.url(name), "pai_username": "op", "pai_password": PASSWORD, **self.host_vars[name]}
            for name in self.names
        }
        children = {
            "courses": {"hosts": courses},
            "pai_clusters": {"hosts": clusters, "vars": self.vars},
            "registries": {"hosts": {"registry": self.registry}},
            "build_servers": {"hosts": {"none": {"ansible_connection": "local"}}},
        }
        (folder / "hosts.json").write_text(json.dumps({"all": {"children": children}}))
        return folder

    def command(self, playbook: str, *options: str) -> list[str]:
        return ["ansible-playbook", "-i", str(self.inventory()), f"playbooks/{playbook}.yml", "-e", "course=all", *options]

    def run(self, playbook: str = "rollout", *options: str, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(playbook, *options),
            cwd=ROOT,
            env=ansible_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def start(self, playbook: str = "rollout", *options: str) -> subprocess.Popen[str]:
        """The same in the background, in a process group of its own, its output on one pipe."""
        return subprocess.Popen(
            self.command(playbook, *options),
            cwd=ROOT,
            env=ansible_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    # ------------------------------------------------------------------------------------ what the clusters say

    def image(self, number: int, course: str = "OOB3") -> None:
        """What the course's image is from now on."""
        repository = self.course_vars[course].get("course_image", "a/course")
        self.images[course] = f"{self.registry['registry_address']}/{repository}:v1-{number:012x}"

    def faults(self, name: str, *entries: dict[str, Any]) -> None:
        _replace(self.folder / name / "faults.yml", {"faults": list(entries)})

    def rules(self, name: str, *entries: dict[str, Any]) -> None:
        _replace(self.folder / name / "rules.yml", {"rules": list(entries)})

    def jobs(self, name: str, course: str = "OOB3") -> list[dict[str, Any]]:
        """The Golden Jobs of a course, newest first, as the cluster lists them."""
        token = self.sandboxes.server(name).tokens.create("op", application=True)
        with PaiClient(self.sandboxes.url(name), token=token) as client:
            return golden_job.jobs_of(course, client.list_jobs()[0])

    def current(self, name: str, course: str = "OOB3") -> dict[str, Any]:
        """The one Golden Job: active, tagged, alone."""
        jobs = self.jobs(name, course)
        active = [job for job in jobs if golden_job.is_active(job)]
        tagged = [job for job in jobs if golden_job.TAG_CURRENT in job["tags"]]
        assert len(active) == 1, jobs
        assert tagged == active, jobs
        return active[0]

    def revision(self, name: str, course: str = "OOB3") -> str:
        return str((golden_job.parse_name(self.current(name, course)["name"]) or {})["revision"])


def _replace(path: Path, content: dict[str, Any]) -> None:
    """At once, so that nobody reads half of it."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content))
    new.replace(path)


@contextmanager
def clusters(folder: Path, count: int, courses: tuple[str, ...] = ("OOB3",), command: str = "serve", **settings: Any) -> Iterator[Clusters]:
    """`settings`: fields of `pai_sandbox.settings.Settings` that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "users.json").write_text(json.dumps({"users": USERS}))
    names = [f"c{number}" for number in range(1, count + 1)]
    port = free_ports(count)
    each = []
    for offset, name in enumerate(names):
        (folder / name).mkdir()
        for kind in ("faults", "rules"):
            (folder / name / f"{kind}.yml").write_text("{}")
        options: dict[str, Any] = {
            "port": port + offset,
            "state_dir": folder / name / "state",
            "users_file": folder / "users.json",
            "containers": False,
            "settle_s": 0.02,
            "poll_s": 0.05,
            "requests_per_minute": 0,
            "lists_per_minute": 0,
            "faults_file": folder / name / "faults.yml",
            "rules_file": folder / name / "rules.yml",
            **settings,
        }
        each.append(Settings(name=name, **options))
    with Sandboxes(each) as sandboxes:
        yield Clusters(folder, sandboxes, names, list(courses), command)
    for one in each:
        if one.containers:
            remove_containers.main(["--name", one.name, "--state-dir", str(one.state_dir)])
