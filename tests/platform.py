"""A local platform for tests: a clone of the project with ports, state and passwords of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.support import ROOT, ansible_environment, free_ports

CLUSTERS = ("pai-a", "pai-b")


def get(url: str, **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=10, **options)


@dataclass
class Platform:
    """A clone of the project with a local platform of its own: ports, state and passwords."""

    project: Path
    state: Path
    port_base: int
    demo: subprocess.CompletedProcess[str] | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    @classmethod
    def clone(cls, folder: Path) -> Platform:
        """The project's files as they are now, in a folder of their own."""
        project = folder / "project"
        project.mkdir()
        copy = f"git ls-files -co --exclude-standard -z | tar --null -T - -cf - | tar -C {project} -xf -"
        subprocess.run(copy, shell=True, cwd=ROOT, check=True)
        return cls(project, folder / "state" / "golden-jobs", free_ports(3))

    @property
    def env(self) -> dict[str, str]:
        return {
            **ansible_environment(self.project),
            "XDG_STATE_HOME": str(self.state.parent),
            "GOLDEN_JOBS_PORT_BASE": str(self.port_base),
            "PATH": f"{self.project / '.venv' / 'bin'}:{os.environ['PATH']}",
        }

    @property
    def registry_address(self) -> str:
        return f"127.0.0.1:{self.port_base}"

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, cwd=self.project, env=self.env, capture_output=True, text=True, check=False)

    def rebuild(self, *options: str, course: str = "OOB3") -> subprocess.CompletedProcess[str]:
        return self.run("ansible-playbook", "rebuild.yml", "-e", f"course={course}", *options)

    def secret(self, name: str) -> str:
        return (self.state / "secrets" / name).read_text().strip()

    def tags(self, repository: str) -> list[str]:
        answer = get(f"http://{self.registry_address}/v2/{repository}/tags/list", auth=("golden", self.secret("registry")))
        return sorted(answer.json().get("tags") or [])

    def request(self, method: str, cluster: str, path: str, **options: Any) -> requests.Response:
        """An answer of the cluster's REST server to the operator. One log-in for all: the server limits how often one may come."""
        address = f"http://127.0.0.1:{self.port_base + 1 + CLUSTERS.index(cluster)}/api/v2"
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(2):
                if cluster not in self.tokens:
                    given = {"username": "operator", "password": self.secret("pai")}
                    self.tokens[cluster] = session.post(f"{address}/authn/basic/login", json=given, timeout=10).json()["token"]
                session.headers["Authorization"] = f"Bearer {self.tokens[cluster]}"
                answer = session.request(method, f"{address}/{path}", timeout=10, **options)
                if answer.status_code != 401:
                    break
                del self.tokens[cluster]  # it is another server's by now
        return answer

    def api(self, cluster: str, path: str) -> Any:
        return self.request("GET", cluster, path).json()

    def jobs(self, cluster: str, course: str = "OOB3") -> dict[str, dict[str, Any]]:
        """The Golden Jobs of a course by name, newest last."""
        found = [job for job in self.api(cluster, "jobs") if job["name"].startswith(f"golden-{course}-")]
        return {job["name"]: job for job in sorted(found, key=lambda job: job["submissionTime"])}

    def current(self, cluster: str, course: str = "OOB3") -> dict[str, Any]:
        """The one Golden Job that is current and runs."""
        alive = [job for job in self.jobs(cluster, course).values() if job["state"] in ("WAITING", "RUNNING")]
        assert len(alive) == 1, alive
        assert "golden-current" in alive[0]["tags"]
        return alive[0]

    def url(self, cluster: str, course: str = "OOB3", port: str = "http") -> str:
        """Address of the current Golden Job."""
        return self.job_url(cluster, self.current(cluster, course)["name"], port)

    def job_url(self, cluster: str, name: str, port: str = "http") -> str:
        job = self.api(cluster, f"jobs/operator~{name}")
        task = job["taskRoles"]["taskrole"]["taskStatuses"][0]
        return f"http://{task['containerIp']}:{task['containerPorts'][port]}"

    def snapshot(self, course: str = "OOB3") -> dict[str, Any]:
        """What must not change when nothing may be touched: jobs with state and tags, and the registry's tags."""
        jobs = {cluster: {name: (job["state"], job["tags"]) for name, job in self.jobs(cluster, course).items()} for cluster in CLUSTERS}
        return {"jobs": jobs, "tags": self.tags("shaiic/ai-edu")}
