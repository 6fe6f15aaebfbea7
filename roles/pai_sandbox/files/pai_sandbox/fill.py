"""Many finished jobs at once, for whoever wants to see how a list of thousands behaves."""

from __future__ import annotations

from .ledger import now_ms
from .states import COMPLETED
from .store import Store

_CONFIG = """protocolVersion: 2
name: {name}
type: job
prerequisites:
  - {{type: dockerimage, name: image, uri: 'registry.example/course:v1'}}
taskRoles:
  taskrole:
    instances: 1
    dockerImage: image
    resourcePerInstance: {{cpu: 1, memoryMB: 1024, gpu: 0}}
    commands: [sleep infinity]
"""
_SPEC = '{"name": "", "virtual_cluster": "default", "max_retries": 0, "roles": [], "secrets": null, "storages": []}'


def add_finished_jobs(store: Store, count: int, username: str, prefix: str = "done") -> None:
    """Add ``count`` jobs ``<prefix>-<number>`` of a user that ended well, one a second, the last one now."""
    now = now_ms()
    with store.transaction():
        for number in range(count):
            name = f"{prefix}-{number}"
            time_ms = now - (count - 1 - number) * 1000
            fields = {
                "frame": f"{username}~{name}",
                "user_name": username,
                "job_name": name,
                "virtual_cluster": "default",
                "config": _CONFIG.format(name=name),
                "spec": _SPEC,
                "state": "SUCCEEDED",
                "sub_state": COMPLETED,
                "submission_time": time_ms,
                "creation_time": time_ms,
                "launch_time": time_ms,
                "completion_time": time_ms,
                "app_exit_code": 0,
                "total_gpu_number": 0,
                "total_task_number": 1,
                "total_task_role_number": 1,
                "job_priority": None,
            }
            if not store.add_job(fields):
                raise ValueError(f"job {username}~{name} is there already")
