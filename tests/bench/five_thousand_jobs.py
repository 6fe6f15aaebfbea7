"""How long it takes to find a course's running Golden Job on a cluster with 5,000 jobs, in requests and seconds.

Starts a PAI sandbox of its own without containers; needs nothing else. Prints a table.
"""

# ruff: noqa: E402 - the paths come first

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import ansible.module_utils

ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.golden_jobs import pai_lookup
from ansible.module_utils.golden_jobs.pai_client import PaiClient
from ansible.module_utils.golden_jobs.progress import Progress

from tests.sandbox import Sandbox, ensure_job, fill, sandbox

JOBS = 5000
ROUNDS = 5
GOAL_S, GOAL_REQUESTS = 1.0, 3
GOLDEN = "golden-OOB3-0123abcd-1"


def golden_job(cluster: Sandbox) -> None:
    role = {"instances": 1, "dockerImage": "i", "resourcePerInstance": {"cpu": 1, "memoryMB": 64, "gpu": 0}, "commands": ["serve"]}
    image = {"type": "dockerimage", "name": "i", "uri": "a:1"}
    job = {"protocolVersion": 2, "name": "any", "type": "job", "prerequisites": [image], "taskRoles": {"web": role}}
    done = ensure_job(cluster, name=GOLDEN, job=job, tags=["golden-current"])
    if done["failed"]:
        sys.exit(done["msg"])


def by_course(cluster: Sandbox, token: str, address: str) -> None:
    """As the module does it: the server searches."""
    params = {option: spec.get("default") for option, spec in pai_lookup.INFO_SPEC.items()}
    params |= {"address": address, "token": token, "course": "OOB3"}
    if not pai_lookup.look_up(SimpleNamespace(params=params), Progress(None))["golden_job"]["url"]:
        sys.exit("the Golden Job was not found")


def by_listing(cluster: Sandbox, token: str, address: str) -> None:
    """All jobs, then the one."""
    with PaiClient(address, token=token) as client:
        found = next(job for job in client.list_jobs()[0] if "golden-current" in job["tags"])
        client.get_job(found["name"])


def main() -> None:
    ways: dict[str, Callable[[Sandbox, str, str], None]] = {"course: OOB3": by_course, "list all, read one": by_listing}
    with tempfile.TemporaryDirectory() as folder, sandbox(Path(folder)) as cluster:
        golden_job(cluster)
        fill.add_finished_jobs(cluster.server.store, JOBS, "op")
        token = cluster.token()
        print(f"{JOBS} jobs on a cluster; goal: {GOAL_REQUESTS} requests, {GOAL_S:g} s")
        for name, way in ways.items():
            cluster.proxy.log.clear()
            way(cluster, token, cluster.proxy_url)
            requests = len(cluster.proxy.log)
            times = []
            for _round in range(ROUNDS):
                started = time.monotonic()
                way(cluster, token, cluster.url)
                times.append(time.monotonic() - started)
            print(f"{name:<20} {requests} requests  median {statistics.median(times):.2f} s  worst {max(times):.2f} s")


if __name__ == "__main__":
    main()
