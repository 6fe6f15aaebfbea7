"""How long it takes to find a course's running Golden Job on a cluster with 5,000 jobs, in requests and seconds.

Starts a PAI sandbox of its own without containers; needs nothing else. Prints a table.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.measure import goal, machine, medians, row, seconds, take_turns

# ruff: isort: split
# After the import that makes them importable.
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


def measure() -> dict[str, Any]:
    """For each way: requests, and the median and the worst of its seconds."""
    ways = {"by_course": by_course, "by_listing": by_listing}
    with tempfile.TemporaryDirectory() as folder, sandbox(Path(folder)) as cluster:
        golden_job(cluster)
        fill.add_finished_jobs(cluster.server.store, JOBS, "op")
        token = cluster.token()
        requests = {}
        for name, way in ways.items():
            cluster.proxy.log.clear()
            way(cluster, token, cluster.proxy_url)
            requests[name] = len(cluster.proxy.log)
        times = take_turns(
            {name: lambda _round, way=way: seconds(lambda: way(cluster, token, cluster.url)) for name, way in ways.items()}, ROUNDS
        )
    took = medians(times)
    return {name: {"requests": requests[name], "median_s": took[name], "worst_s": max(times[name])} for name in ways}


def main() -> None:
    result = measure()
    print(f"{machine()}; {JOBS} jobs on a cluster, {ROUNDS} rounds")
    row("", "requests", "median", "worst")
    for text, name in (("course: OOB3", "by_course"), ("list all, read one", "by_listing")):
        row(text, str(result[name]["requests"]), f"{result[name]['median_s']:.2f} s", f"{result[name]['worst_s']:.2f} s")
    goal("course: OOB3, requests", result["by_course"]["requests"], at_most=GOAL_REQUESTS)
    goal("course: OOB3, median", result["by_course"]["median_s"], "s", at_most=GOAL_S)


if __name__ == "__main__":
    main()
