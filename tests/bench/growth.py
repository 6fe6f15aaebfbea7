"""How time and memory grow: a rebuild with nothing to do for 1 to 64 courses, a rollout to 1 to 200 clusters.

The courses are tiny: their images are a few bytes that were pushed under the tags that a rebuild looks for, so that nothing but the looking is
measured. The clusters run no containers.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.ground import PACE, Ground, make_courseware, patient
from tests.bench.measure import ROOT, changed
from tests.bench.resources import Sample, run
from tests.clusters import Clusters, clusters
from tests.pusher import Pusher
from tests.sandbox import PASSWORD
from tests.support import VENV_BIN, ansible_environment

COURSES = (1, 4, 16, 64)
CLUSTERS = (1, 10, 50, 200)
ROUNDS = 3
#: Samples by size.
Growth = dict[int, list[Sample]]

_DOCKERFILE = "{% import 'macros/courseware.j2' as courseware %}\nFROM {{ course_base_image }}\n{{ courseware.install() }}\n"
#: Writes the tag that each course's image would have; builds nothing.
_TAGS = """\
- name: Say which tags the courses' images have
  hosts: courses
  tasks:
    - {ansible.builtin.include_role: {name: course_image, tasks_from: context}}
    - ansible.builtin.copy:
        content: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, ['__course_image_context', 'build', 'tag']))) | to_json }}"
        dest: "{{ playbook_dir }}/tags.json"
        mode: "0644"
      run_once: true
"""


def slopes(medians: dict[int, float]) -> dict[str, float]:
    """Seconds for each course or cluster more, between neighbouring sizes."""
    sizes = sorted(medians)
    return {f"{a}-{b}": round((medians[b] - medians[a]) / (b - a), 4) for a, b in itertools.pairwise(sizes)}


# ---------------------------------------------------------------------------------------------- courses


def courses(ground: Ground, rounds: int) -> Growth:
    names = [f"G{number:02d}" for number in range(1, max(COURSES) + 1)]
    found: Growth = {count: [] for count in COURSES}
    with tempfile.TemporaryDirectory(prefix="golden-jobs-bench-") as folder, clusters(Path(folder) / "fleet", 2, **PACE) as fleet:
        where = _TinyCourses(ground, fleet, Path(folder), names)
        where.push()
        where.run("playbooks/rollout.yml", "course=all")
        for number in range(rounds):
            for count in COURSES:
                sample, said = where.run("rebuild.yml", f"course={','.join(names[:count])}")
                if changed(said):
                    sys.exit(f"A rebuild of {count} courses had something to do:\n{said[-3000:]}")
                found[count].append(sample)
                _say(f"nothing changed, {count} courses", number, rounds, sample)
    return found


class _TinyCourses:
    """A catalogue of courses that add only courseware, and two clusters without containers."""

    def __init__(self, ground: Ground, fleet: Clusters, folder: Path, names: list[str]) -> None:
        self._ground, self._folder, self._names = ground, folder, names
        template = ground.project / "dockerfiles" / "tiny" / "Dockerfile.j2"
        template.parent.mkdir(exist_ok=True)
        template.write_text(_DOCKERFILE)
        (ground.project / "tags.yml").write_text(_TAGS)
        make_courseware(folder / "courseware")
        inventory = folder / "inventory"
        inventory.mkdir()
        (inventory / "group_vars").symlink_to(ground.project / "inventory" / "group_vars")
        (inventory / "hosts.json").write_text(json.dumps({"all": {"children": self._groups(fleet)}}))

    def _groups(self, fleet: Clusters) -> dict[str, Any]:
        here = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        course = {
            "course_dockerfile": "dockerfiles/tiny/Dockerfile.j2",
            "course_version": "v1",
            "course_job": "yamls/OOB3-aiedu.yaml",
            "course_base_image": self._ground.base_image,
            "course_courseware": {"repository": str(self._folder / "courseware"), "version": "main"},
        }
        server = {**here, "build_server_work_dir": str(self._folder / "build"), "build_server_site": self._ground.site}
        cluster = {"pai_username": "op", "pai_password": PASSWORD, "golden_job_bake_s": 0, "golden_job_probes": []}
        registry = {"registry_address": self._ground.registry.address, **self._ground.registry.login}
        return {
            "courses": {"hosts": {name: {**course, "course_image": f"bench/{name.lower()}"} for name in self._names}},
            "build_servers": {"hosts": {"build": server}},
            "registries": {"hosts": {"registry": registry}},
            "pai_clusters": {"hosts": {name: {**cluster, "pai_address": fleet.sandboxes.url(name)} for name in fleet.names}},
            "base_images": {},
        }

    def push(self) -> None:
        """An image of a few bytes under each tag that a rebuild will look for."""
        self.run("tags.yml", "course=all")
        registry = self._ground.registry
        pusher = Pusher(registry.address, (registry.username, registry.password))
        for name, tag in json.loads((self._ground.project / "tags.json").read_text()).items():
            pusher.image(f"bench/{name.lower()}", tag, "v1", label=name)

    def run(self, playbook: str, variable: str) -> tuple[Sample, str]:
        env = {**ansible_environment(self._ground.project), "XDG_CACHE_HOME": str(self._folder / "cache")}
        argv = [str(VENV_BIN / "ansible-playbook"), "-i", str(self._folder / "inventory"), playbook, "-e", variable]
        return run(argv, cwd=self._ground.project, env=env, registry=self._ground.blobs)


# --------------------------------------------------------------------------------------------- clusters


def fleets(rounds: int) -> Growth:
    found: Growth = {count: [] for count in CLUSTERS}
    with (
        tempfile.TemporaryDirectory(prefix="golden-jobs-bench-") as folder,
        clusters(Path(folder) / "fleet", max(CLUSTERS), **PACE) as fleet,
    ):
        patient(fleet)
        every = list(fleet.names)
        for number in range(rounds):
            for count in CLUSTERS:
                fleet.names = every[:count]
                fleet.image(1000 * (number + 1) + count)
                argv = fleet.command("rollout", "-e", '{"rollout_serial": ["100%"]}')
                sample, said = run(argv, cwd=ROOT, env=ansible_environment())
                if not changed(said):
                    sys.exit(f"A rollout to {count} clusters had nothing to do:\n{said[-3000:]}")
                found[count].append(sample)
                _say(f"rollout to {count} clusters", number, rounds, sample)
    return found


def _say(text: str, number: int, rounds: int, sample: Sample) -> None:
    print(f"{text}, round {number + 1} of {rounds}: {sample.wall_s:.1f} s, {sample.peak_mb:.0f} MB", flush=True)
