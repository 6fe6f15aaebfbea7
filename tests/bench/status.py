"""How long status.yml takes for 50 clusters with 10 courses each, whose repositories have 20 images each.

Starts a registry and PAI sandboxes without containers, which need a third of the processor time; prints a line per round.
"""

# ruff: noqa: E402 - the paths come first

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import ansible.module_utils

ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.golden_jobs import golden_job, protocol
from ansible.module_utils.golden_jobs.effective_job import effective_job
from ansible.module_utils.golden_jobs.pai_client import PaiClient

from tests.clusters import Clusters, clusters
from tests.pusher import Pusher
from tests.support import Registry, free_ports

CLUSTERS, COURSES, IMAGES, ROUNDS, GOAL_S = 50, 10, 20, 3, 10.0


def fill(fleet: Clusters) -> None:
    """A live Golden Job of each course on each cluster, as a rollout leaves it."""
    template, _source = protocol.load_file(str(fleet.folder / "job.yaml"))
    login = {key.removeprefix("registry_"): value for key, value in fleet.registry.items()}
    for name in fleet.names:
        token = fleet.sandboxes.server(name).tokens.create("op", application=True)
        with PaiClient(fleet.sandboxes.url(name), token=token) as client:
            for course, image in fleet.images.items():
                made = effective_job(template, {"name": course, "image": image, "registry": login}, {"virtual_cluster": "default"})
                job = golden_job.job_name(course, made["revision"], 1)
                client.post_job(protocol.dump_yaml({**made["job"], "name": job}))
                for tag in (*golden_job.submit_tags(course, "bench@here"), "golden-promoted:1700000000", golden_job.TAG_CURRENT):
                    client.add_tag(job, tag)


def push(fleet: Clusters, registry: Registry) -> None:
    """A repository per course; the newest of its images is what the course is now."""
    pusher = Pusher(registry.address, (registry.username, registry.password))
    fleet.registry = {"registry_address": registry.address, **registry.login}
    for course in fleet.images:
        fleet.course_vars[course] = {"course_image": f"bench/{course.lower()}"}
        for number in range(1, IMAGES + 1):
            pusher.image(f"bench/{course.lower()}", f"v1-{number:012x}", *(["v1"] if number == IMAGES else []), label=str(number))
        fleet.image(IMAGES, course)


def main() -> None:
    count, courses = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) == 3 else (CLUSTERS, COURSES)
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder) / "registry", free_ports(1))
        registry.start()
        try:
            with clusters(Path(folder) / "fleet", count, tuple(f"OOB{n}" for n in range(courses))) as fleet:
                push(fleet, registry)
                fill(fleet)
                measure(fleet, folder, count * courses)
        finally:
            registry.stop()


def measure(fleet: Clusters, folder: str, rows: int) -> None:
    print(f"{rows} rows; goal: {GOAL_S:g} s", flush=True)
    for _round in range(ROUNDS):
        started = time.monotonic()
        done = fleet.run("status", "-e", f"status_html={folder}/status.html", "-e", f"status_json={folder}/status.json")
        seconds = time.monotonic() - started
        if f"{rows} current" not in done.stdout.splitlines():
            sys.exit(f"not all are current:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        print(f"status.yml  {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
