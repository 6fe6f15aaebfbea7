"""How long status.yml takes for 50 clusters with 10 courses each. Starts PAI sandboxes without containers; prints a line per round."""

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

CLUSTERS, COURSES, ROUNDS, GOAL_S = 50, 10, 3, 10.0


def fill(fleet: Clusters) -> None:
    """A live Golden Job of each course on each cluster, as a rollout leaves it."""
    template, _source = protocol.load_file(str(fleet.folder / "job.yaml"))
    for name in fleet.names:
        token = fleet.sandboxes.server(name).tokens.create("op", application=True)
        with PaiClient(fleet.sandboxes.url(name), token=token) as client:
            for course, image in fleet.images.items():
                made = effective_job(template, {"name": course, "image": image}, {"virtual_cluster": "default"})
                job = golden_job.job_name(course, made["revision"], 1)
                client.post_job(protocol.dump_yaml({**made["job"], "name": job}))
                for tag in [*golden_job.submit_tags(course, "bench@here"), "golden-promoted:1700000000", golden_job.TAG_CURRENT]:
                    client.add_tag(job, tag)


def main() -> None:
    count, courses = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) == 3 else (CLUSTERS, COURSES)
    with (
        tempfile.TemporaryDirectory() as folder,
        clusters(Path(folder) / "fleet", count, tuple(f"OOB{n}" for n in range(courses))) as fleet,
    ):
        fill(fleet)
        print(f"{count} clusters x {courses} courses; goal: {GOAL_S:g} s")
        for _round in range(ROUNDS):
            started = time.monotonic()
            done = fleet.run(
                "status",
                "-e",
                f"status_html={folder}/status.html",
                "-e",
                f"status_json={folder}/status.json",
                "-e",
                "registry_address=127.0.0.1:9",
            )
            seconds = time.monotonic() - started
            total = next(
                (line for line in done.stdout.splitlines() if line.startswith(f"{count * courses} ")),
                done.stdout[-800:] + done.stderr[-800:],
            )
            print(f"status.yml  {seconds:.1f} s  ({total})")


if __name__ == "__main__":
    main()
