"""The three ways to take a change of a course to its clusters: by hand, a peer's playbook, ours. Each does the same on the same ground."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible.module_utils.golden_jobs.pai_client import PaiClient

from tests.bench.ground import COURSES, Ground, change_logo, change_notebook, change_requirement, docker_environment, make_courseware
from tests.bench.image_modules import their_venv
from tests.bench.measure import ROOT
from tests.bench.plays import docker_cli
from tests.bench.resources import Sample, run
from tests.clusters import Clusters
from tests.sandbox import PASSWORD
from tests.support import VENV_BIN, ansible_environment

BY_HAND, PEER = ROOT / "tests" / "bench" / "by_hand", ROOT / "tests" / "bench" / "peer"
USER = "op"


class Contender:
    """`files`: the folder in which a course's developer edits; `prefix`: how its jobs' names begin, before the course's."""

    name: str
    prefix: str

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.key = type(self).__name__.lower()
        self.rounds = 0
        #: Courses that were not rebuilt since `fresh`.
        self.unbuilt: list[str] = []
        for course in COURSES:
            make_courseware(self.courseware(course))
            self.write_course(course)
        self.fresh()

    def courseware(self, course: str) -> Path:
        return self.ground.courseware(self.key, course)

    def files(self, course: str) -> Path:
        raise NotImplementedError

    def logo(self, course: str) -> Path:
        return self.files(course) / "logo.png"

    def write_course(self, course: str) -> None:
        """What the developer of the course keeps beside the Dockerfile."""
        folder = self.files(course)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "requirements.txt").write_text(COURSES[course])

    # ------------------------------------------------------------------------------- what a developer changes

    def fresh(self) -> None:
        """From now on no builder has seen anything above the base image, and no package manager has a cache."""
        self.rounds += 1
        self.unbuilt = list(COURSES)
        for course in COURSES:
            (self.files(course) / "requirements.txt").write_text(COURSES[course])
        self.mark(f"{self.ground.mark}-{self.rounds}")

    def mark(self, mark: str) -> None:
        raise NotImplementedError

    def new_logo(self, course: str) -> None:
        change_logo(self.logo(course))

    def new_notebook(self, course: str) -> None:
        change_notebook(self.courseware(course))

    def new_requirement(self, course: str) -> None:
        change_requirement(self.files(course) / "requirements.txt")

    # ------------------------------------------------------------------------------------------ what is timed

    def rebuild(self, *courses: str, changes: bool = True) -> Sample:
        """Bring the courses to the two clusters. Ends the benchmark if the jobs there did not change as they should."""
        before = [self._live(course) for course in courses]
        sample = self._rebuild(*courses)
        self.unbuilt = [course for course in self.unbuilt if course not in courses]
        for course, old in zip(courses, before, strict=True):
            new = self._live(course)
            if any(len(names) != 1 for names in new) or any((a == b) == changes for a, b in zip(old, new, strict=True)):
                sys.exit(f"{self.name}: {course} should {'' if changes else 'not '}have been replaced: {old} became {new}.")
        return sample

    def _rebuild(self, *courses: str) -> Sample:
        raise NotImplementedError

    def _live(self, course: str) -> list[set[str]]:
        """Names of the jobs that run, by cluster."""
        return live(self.ground.fleet, f"{self.prefix}-{course}-")

    def rollout(self, fleet: Clusters, number: int) -> Sample:
        """Bring the course OOB3 to the fleet's image of that number, on all clusters that the fleet names."""
        raise NotImplementedError

    def status(self, fleet: Clusters) -> Sample:
        raise NotImplementedError


def live(fleet: Clusters, prefix: str) -> list[set[str]]:
    """Names of the jobs that run, were not told to stop, and begin so, by cluster."""
    found = []
    for name in fleet.names:
        token = fleet.sandboxes.server(name).tokens.create(USER, application=True)
        with PaiClient(fleet.sandboxes.url(name), token=token) as client:
            jobs, _count = client.list_jobs(keyword=prefix, state=["WAITING", "RUNNING"])
        found.append({job["name"] for job in jobs if job["executionType"] == "START"})
    return found


class Hand(Contender):
    """docker build, docker push and curl in a shell script."""

    name, prefix = "by hand", "hand"

    def files(self, course: str) -> Path:
        return self.ground.folder / "by_hand" / course

    def write_course(self, course: str) -> None:
        super().write_course(course)
        context = self.files(course)
        write_context(context, self.ground)
        subprocess.run(["git", "clone", "--quiet", str(self.courseware(course)), str(context / "courseware")], check=True)

    def mark(self, mark: str) -> None:
        text = (BY_HAND / "Dockerfile").read_text()
        for name, value in {"BASE": self.ground.base_image, "WHOSE": self.ground.mark, "MARK": mark}.items():
            text = text.replace(name, value)
        for course in COURSES:
            (self.files(course) / "Dockerfile").write_text(text)

    def _rebuild(self, *courses: str) -> Sample:
        first, *others = courses
        sample = self._script(
            "rebuild",
            self.ground.fleet,
            COURSE=f"{self.prefix}-{first}",
            IMAGE=f"{self.ground.registry.address}/bench/hand-{first.lower()}:v1.0",
            CONTEXT=str(self.files(first)),
            PROBE="1",
        )
        return sample + self._rebuild(*others) if others else sample

    def rollout(self, fleet: Clusters, number: int) -> Sample:
        return self._script("rollout", fleet, COURSE="hand-OOB3", IMAGE=fleet.images["OOB3"], PROBE="")

    def status(self, fleet: Clusters) -> Sample:
        return self._script("status", fleet, COURSE="hand")

    def _script(self, verb: str, fleet: Clusters, **variables: str) -> Sample:
        env = {
            **docker_environment(self.ground.folder),
            **variables,
            "CLUSTERS": " ".join(fleet.sandboxes.url(name) for name in fleet.names),
            "JOB": str(self.ground.job_file()),
            "PAI_USER": USER,
            "PAI_PASSWORD": PASSWORD,
            "DOCKER": docker_cli.path,
        }
        return run([str(BY_HAND / "golden_job.sh"), verb], cwd=self.ground.folder, env=env, registry=self.ground.blobs)[0]


class Peer(Contender):
    """A playbook of community.docker and ansible.builtin.uri, with the PyPI package `ansible`."""

    name, prefix = "peer playbook", "peer"

    def __init__(self, ground: Ground) -> None:
        self._programs = their_venv(ground.folder) / "bin"
        self._mark = ""
        super().__init__(ground)

    def files(self, course: str) -> Path:
        return self.ground.folder / "peer" / course

    def write_course(self, course: str) -> None:
        super().write_course(course)
        write_context(self.files(course), self.ground)

    def mark(self, mark: str) -> None:
        self._mark = mark

    def _rebuild(self, *courses: str) -> Sample:
        return self._play("rebuild", self.ground.fleet, {"course": ",".join(courses), "probe": True})

    def rollout(self, fleet: Clusters, number: int) -> Sample:
        return self._play("rollout", fleet, {"course": "OOB3", "reference": fleet.images["OOB3"], "probe": False})

    def status(self, fleet: Clusters) -> Sample:
        return self._play("status", fleet, {})

    def _play(self, playbook: str, fleet: Clusters, variables: dict[str, Any]) -> Sample:
        here = {"ansible_connection": "local", "ansible_python_interpreter": str(self._programs / "python")}
        courses = {
            course: {
                "courseware": str(self.courseware(course)),
                "context": str(self.files(course)),
                "image": f"{self.ground.registry.address}/bench/peer-{course.lower()}",
            }
            for course in COURSES
        }
        groups = {
            "courses": {"hosts": courses},
            "pai_clusters": {"hosts": {name: {"pai": fleet.sandboxes.url(name)} for name in fleet.names}},
        }
        every = {
            **here,
            "base_image": self.ground.base_image,
            "whose": self.ground.mark,
            "mark": self._mark,
            "pai_user": USER,
            "pai_password": PASSWORD,
            "job_file": str(self.ground.job_file()),
        }
        inventory = self.ground.folder / "peer" / "hosts.json"
        inventory.write_text(json.dumps({"all": {"children": groups, "vars": every}}))
        argv = [str(self._programs / "ansible-playbook"), "-i", str(inventory), f"{playbook}.yml", "-e", json.dumps(variables)]
        env = {name: value for name, value in docker_environment(self.ground.folder).items() if not name.startswith("ANSIBLE_")}
        return run(argv, cwd=PEER, env={**env, "ANSIBLE_NOCOLOR": "1"}, registry=self.ground.blobs)[0]


class Ours(Contender):
    """rebuild.yml in the project's copy; rollouts and status in the project itself."""

    name, prefix = "ours", "golden"

    def __init__(self, ground: Ground) -> None:
        self._macros = {path: path.read_text() for path in (ground.project / "dockerfiles" / "macros").glob("*.j2")}
        super().__init__(ground)
        self._write_inventory()

    def files(self, course: str) -> Path:
        return self.ground.project / "dockerfiles" / course

    def logo(self, course: str) -> Path:
        return self.ground.project / "branding" / "logo.png"

    def write_course(self, course: str) -> None:
        super().write_course(course)
        template = (self.ground.project / "dockerfiles" / "OOB3" / "Dockerfile.aiedu.j2").read_text()
        (self.files(course) / "Dockerfile.j2").write_text(template)

    def _write_inventory(self) -> None:
        courses = {
            course: {
                "course_title": course,
                "course_dockerfile": f"dockerfiles/{course}/Dockerfile.j2",
                "course_requirements": "requirements.txt",
                "course_image": f"bench/ours-{course.lower()}",
                "course_version": "v1.0",
                "course_job": "yamls/OOB3-aiedu.yaml",
                "course_base_image": self.ground.base_image,
                "course_courseware": {"repository": str(self.courseware(course)), "version": "main"},
            }
            for course in COURSES
        }
        here = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        server = {**here, "build_server_work_dir": str(self.work), "build_server_site": self.ground.site}
        fleet = self.ground.fleet
        cluster = {"pai_username": USER, "pai_password": PASSWORD, "golden_job_bake_s": 0}
        groups = {
            "courses": {"hosts": courses},
            "build_servers": {"hosts": {"build": server}},
            "registries": {"hosts": {"registry": {"registry_address": self.ground.registry.address, **self.ground.registry.login}}},
            "pai_clusters": {"hosts": {name: {**cluster, "pai_address": fleet.sandboxes.url(name)} for name in fleet.names}},
        }
        path = self.ground.project / "inventory" / "bench" / "hosts.json"
        path.write_text(json.dumps({"all": {"children": {**groups, "base_images": {}}}}))

    @property
    def work(self) -> Path:
        """The build server's work folder."""
        return self.ground.folder / "ours" / "build"

    @property
    def env(self) -> dict[str, str]:
        return {**ansible_environment(self.ground.project), "XDG_CACHE_HOME": str(self.ground.folder / "ours" / "cache")}

    def mark(self, mark: str) -> None:
        """Steps that no builder has seen, with cache mounts of their own."""
        for path, text in self._macros.items():
            mounts = re.sub(r"type=cache,target=(/[^,' ]+)", rf"type=cache,id={mark}\1,target=\1", text)
            path.write_text(re.sub(r"( : '[^'\n]*';)", rf"\1 : {mark};", mounts))

    def _rebuild(self, *courses: str) -> Sample:
        argv = [str(VENV_BIN / "ansible-playbook"), "rebuild.yml", "-e", f"course={','.join(courses)}"]
        sample, _said = run(argv, cwd=self.ground.project, env=self.env, registry=self.ground.blobs)
        for course in courses:
            context = self.work / course / "context"
            self.ground.contexts.add(
                sum(path.stat().st_size for path in context.rglob("*") if path.is_file() and path.name != "Dockerfile")
            )
        return sample

    def forget_build_server(self) -> None:
        """As if the build server were a new one: no image, no cache and no file of ours."""
        shutil.rmtree(self.ground.folder / "ours")
        engine = self.ground.engine
        for image in engine.images():
            for name in image["RepoTags"] or []:
                if name.startswith(f"{self.ground.registry.address}/bench/ours-"):
                    self.ground.nameless.add(image["Id"])
                    engine.remove_image(name, force=True)

    def rollout(self, fleet: Clusters, number: int) -> Sample:
        return self._in_project(fleet.command("rollout", "-e", '{"rollout_serial": ["100%"]}'))

    def status(self, fleet: Clusters) -> Sample:
        where = self.ground.folder / "ours"
        return self._in_project(fleet.command("status", "-e", f"status_html={where}/status.html", "-e", f"status_json={where}/status.json"))

    def _in_project(self, argv: list[str]) -> Sample:
        return run(argv, cwd=ROOT, env={**os.environ, **ansible_environment()})[0]


def write_context(folder: Path, ground: Ground) -> None:
    """What contexts have that are not ours: logos, the site's files, and no git folders."""
    for name in ("logo.png", "favicon.ico"):
        shutil.copy(ROOT / "branding" / name, folder / name)
    for name, content in ground.site_files.items():
        (folder / name).write_text(content)
    (folder / ".dockerignore").write_text("courseware/.git\n")
