"""Fresh VMs become build servers, courses are spread over them, and what dies in the middle is made good by the next run.

The VMs are containers that boot Debian (tests/vm) with an engine of their own, reached over SSH; the registry is real, the clusters are sandboxes.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs.build_farm import choose

from tests import vm
from tests.clusters import JOB, Clusters, clusters
from tests.platform import Platform
from tests.sandbox import PASSWORD
from tests.support import Registry, ansible_environment, free_ports, wait_for

COURSES = ("F1", "F2", "F3", "F4")
DOCKERFILE = """\
FROM {{ course_base_image }}
COPY courseware/ /www/courseware/
RUN mkdir -p /www && echo '{"version": "1"}' > /www/api
RUN {{ build_command | default('true') }}
"""
SERVE = "exec httpd -f -p $PAI_PORT_LIST_web_0_http -h /www"
#: The images are tiny: without Python and Jupyter there is nothing for the checks of a real course.
NO_CHECKS = {"__course_image_context_checks": [], "course_image_checks": [], "course_image_branding_checks": []}
GIT = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
       (("NAME", "t"), ("EMAIL", "t@localhost"), ("DATE", "2026-01-01T00:00:00Z"))}  # fmt: skip


@dataclass
class Farm:
    """A clone of the project with VMs as its build servers."""

    folder: Path
    project: Path
    registry: Registry
    clusters: Clusters
    base: str
    tiny: str
    vms: dict[str, vm.Vm]
    course_vars: dict[str, dict[str, Any]]
    server_vars: dict[str, Any]

    def add(self, name: str, suite: str = "bookworm") -> None:
        self.vms[name] = vm.start(self.folder, f"gj-test-{os.getpid()}-{name}", suite)

    def inventory(self) -> Path:
        folder = self.folder / "farm"
        folder.mkdir(exist_ok=True)
        address = self.registry.address
        children = {
            "build_servers": {
                "hosts": {name: one.inventory() for name, one in self.vms.items()},
                "vars": {"build_server_daemon": {"insecure-registries": [address]}, "build_server_min_free_gb": 1, **self.server_vars},
            },
            "registries": {"hosts": {"farm-registry": {"registry_address": address, **self.registry.login}}},
            "pai_clusters": {
                "hosts": {
                    name: {"pai_address": self.clusters.sandboxes.url(name), "pai_username": "op", "pai_password": PASSWORD}
                    for name in self.clusters.names
                },
                "vars": self.clusters.vars,
            },
            "courses": {"hosts": {course: self.course_vars[course] for course in COURSES}, "vars": {"course_base_image": self.base}},
        }
        (folder / "hosts.json").write_text(json.dumps({"all": {"children": children}}))
        return folder

    def command(self, playbook: str, *options: str) -> list[str]:
        return [
            "ansible-playbook",
            "-i",
            "inventory/courses.yml",
            "-i",
            str(self.inventory()),
            playbook,
            "-e",
            json.dumps(NO_CHECKS),
            *options,
        ]

    @property
    def env(self) -> dict[str, str]:
        return ansible_environment(self.project)

    def run(self, playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(playbook, *options), cwd=self.project, env=self.env, capture_output=True, text=True, check=False)

    def start(self, playbook: str, *options: str, log: Path) -> subprocess.Popen[bytes]:
        with open(log, "wb") as handle:
            return subprocess.Popen(
                self.command(playbook, *options),
                cwd=self.project,
                env=self.env,
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def build(self, *courses: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.run("playbooks/build.yml", "-e", f"course={','.join(courses) or 'all'}", "-e", json.dumps(options))

    def tags(self, course: str) -> list[str]:
        return self.registry.tags(f"farm/{course.lower()}")

    def give_base(self, name: str) -> None:
        """Push the base image from a VM: this machine's engine does not trust the registry."""
        one = self.vms[name]
        save = f"docker save {self.tiny} | ssh {' '.join(vm.SSH_OPTIONS)} -i {one.key} root@{one.address} docker load"
        subprocess.run(["bash", "-o", "pipefail", "-c", save], check=True, capture_output=True)
        login = f"docker login -u {self.registry.username} --password-stdin {self.registry.address}"
        push = f"docker tag {self.tiny} {self.base} && {login} && docker push {self.base} && docker logout {self.registry.address}"
        pushed = subprocess.run(one.ssh_argv(push), input=self.registry.password, capture_output=True, text=True, check=False)
        assert pushed.returncode == 0, pushed.stderr

    def give_courseware(self, name: str) -> None:
        made = " && ".join(
            [
                "mkdir -p /srv/courseware",
                "cd /srv/courseware",
                "git init -q -b main .",
                "echo 1 > one.ipynb",
                "git add -A",
                "git commit -qm one",
            ]
        )
        done = self.vms[name].ssh("env", *(f"{key}={value}" for key, value in GIT.items()), "sh", "-c", f"'{made}'")
        assert done.returncode == 0, done.stderr


def recap(output: str) -> dict[str, dict[str, int]]:
    """Host -> counter -> number."""
    return {
        line.split(":")[0].strip(): {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}
        for line in output.partition("PLAY RECAP")[2].splitlines()
        if "ok=" in line
    }


def built_on(output: str) -> dict[str, str]:
    """Course -> server, of the images that were built."""
    return dict(re.findall(r"changed +(F\d) -> (\S+): Build the image", output))


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, engine: Any, tiny_image: str) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("farm")
    project = Platform.clone(folder).project
    for course in COURSES:
        (project / "dockerfiles" / course).mkdir()
        (project / "dockerfiles" / course / "Dockerfile.j2").write_text(DOCKERFILE)
        (project / "yamls" / f"{course}.yaml").write_text(JOB.replace("COMMAND", json.dumps(SERVE)))
    catalogue = {
        course: {
            "course_title": course,
            "course_dockerfile": f"dockerfiles/{course}/Dockerfile.j2",
            "course_image": f"farm/{course.lower()}",
            "course_version": "v1",
            "course_job": f"yamls/{course}.yaml",
            "course_courseware": {"repository": "/srv/courseware", "version": "main"},
        }
        for course in COURSES
    }
    (project / "inventory" / "courses.yml").write_text(json.dumps({"base_images": {}, "courses": {"hosts": catalogue}}))
    bridge = str(ipaddress.ip_network(engine.inspect_network("bridge")["IPAM"]["Config"][0]["Subnet"])[1])
    registry = Registry(folder / "registry", free_ports(1), host=bridge)
    registry.start()
    with clusters(folder / "clusters", 2, COURSES) as two:
        one = Farm(
            folder, project, registry, two, f"{registry.address}/farm/base:1", tiny_image, {}, {course: {} for course in COURSES}, {}
        )
        try:
            yield one
        finally:
            for each in one.vms.values():
                vm.remove(each.name)
            registry.stop()


@pytest.fixture(scope="module")
def provisioned(farm: Farm) -> subprocess.CompletedProcess[str]:
    farm.add("bs1", "bookworm")
    farm.add("bs2", "trixie")
    done = farm.run("playbooks/provision.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    farm.give_base("bs1")
    for name in farm.vms:
        farm.give_courseware(name)
    return done


def test_fresh_vms_become_build_servers_in_one_run_and_a_second_changes_nothing(farm: Farm, provisioned: subprocess.CompletedProcess[str]):
    assert re.search(r"bs1 +20\.10\.24\S* +overlay2 +in the CLI", provisioned.stdout), provisioned.stdout
    assert re.search(r"bs2 +26\.1\.\S+ +overlay2 +0\.13", provisioned.stdout), provisioned.stdout
    again = farm.run("playbooks/provision.yml")
    assert again.returncode == 0
    assert all(counts["changed"] == 0 for counts in recap(again.stdout).values()), again.stdout


def test_all_courses_are_built_once_on_both_servers_and_are_live_on_both_clusters(farm: Farm, provisioned: Any):
    done = farm.run("rebuild.yml", "-e", "course=all")
    assert done.returncode == 0, done.stdout[-3000:]
    expected = {course: choose(course, farm.vms) for course in COURSES}
    assert built_on(done.stdout) == expected
    assert set(expected.values()) == {"bs1", "bs2"}
    for course in COURSES:
        assert len(farm.tags(course)) == 2  # the immutable one and the moving one
        for cluster in farm.clusters.names:
            farm.clusters.current(cluster, course)
    again = farm.run("rebuild.yml", "-e", "course=all")
    assert again.returncode == 0
    assert all(counts["changed"] == 0 for counts in recap(again.stdout).values()), again.stdout


def test_a_third_fresh_vm_builds_nothing_that_the_registry_has(farm: Farm, provisioned: Any):
    name = next(
        f"bs{number}" for number in range(3, 50) if f"bs{number}" in {choose(course, [*farm.vms, f"bs{number}"]) for course in COURSES}
    )
    farm.add(name)
    done = farm.run("playbooks/provision.yml", "--limit", name)
    assert done.returncode == 0, done.stdout[-3000:]
    farm.give_courseware(name)
    before = {course: farm.tags(course) for course in COURSES}
    again = farm.run("rebuild.yml", "-e", "course=all")
    assert again.returncode == 0, again.stdout[-3000:]
    assert not built_on(again.stdout)
    assert all(counts["changed"] == 0 for counts in recap(again.stdout).values()), again.stdout
    assert {course: farm.tags(course) for course in COURSES} == before
    contexts = farm.vms[name].ssh("ls", "/var/lib/golden-jobs/build").stdout.split()
    assert set(contexts) & set(COURSES)  # it was asked
    vm.remove(farm.vms.pop(name).name)


def test_two_runs_of_one_course_build_it_once_and_the_second_waits_for_the_first(farm: Farm, provisioned: Any, tmp_path: Path):
    options = ["-e", "course=F1", "-e", json.dumps({"build_command": "sleep 12; echo two runs"})]
    first = farm.start("playbooks/build.yml", *options, log=tmp_path / "first")
    wait_for(lambda: "RUN sleep 12" in (tmp_path / "first").read_text(), 60)
    second = farm.run("playbooks/build.yml", *options)
    assert first.wait(120) == 0, (tmp_path / "first").read_text()
    assert second.returncode == 0, second.stdout
    assert re.search(r"F1 waiting for the run of \S+@\S+ that began at \d\d:\d\d", second.stdout), second.stdout
    assert recap(second.stdout)["F1"]["changed"] == 0


def test_an_ssh_connection_that_drops_does_not_end_a_build(farm: Farm, provisioned: Any, tmp_path: Path):
    server = choose("F2", farm.vms)
    options = ["-e", "course=F2", "-e", json.dumps({"build_command": "sleep 15; echo dropped"})]
    run = farm.start("playbooks/build.yml", *options, log=tmp_path / "log")
    wait_for(lambda: "RUN sleep 15" in (tmp_path / "log").read_text(), 60)
    farm.vms[server].ssh("pkill", "-KILL", "-f", "sshd:.root")
    assert run.wait(180) == 0, (tmp_path / "log").read_text()
    text = (tmp_path / "log").read_text()
    assert "the connection is lost" in text
    assert built_on(text) == {"F2": server}


def test_a_configuration_that_the_engine_refuses_is_not_written_and_the_engine_is_untouched(farm: Farm, provisioned: Any):
    before = {
        name: one.ssh("cat /etc/docker/daemon.json; stat -c %Y /proc/$(cat /var/run/docker.pid)").stdout for name, one in farm.vms.items()
    }
    done = farm.run("playbooks/provision.yml", "-e", json.dumps({"build_server_daemon": {"log-drivr": "local"}}))
    assert done.returncode != 0
    assert done.stdout.count("The engine refuses this configuration (build_server_daemon): ") == len(farm.vms), done.stdout
    assert "log-drivr" in done.stdout
    assert "nothing was written" in done.stdout
    assert before == {
        name: one.ssh("cat /etc/docker/daemon.json; stat -c %Y /proc/$(cat /var/run/docker.pid)").stdout for name, one in farm.vms.items()
    }


def test_an_engine_that_does_not_start_with_its_new_configuration_gets_the_former_one_back(farm: Farm, provisioned: Any):
    one = farm.vms["bs1"]
    before = one.ssh("cat", "/etc/docker/daemon.json").stdout
    # Well-formed, so that it is written; no engine starts with it.
    done = farm.run(
        "playbooks/provision.yml", "--limit", "bs1", "-e", json.dumps({"build_server_daemon": {"log-driver": "no-such-driver"}})
    )
    assert done.returncode != 0
    assert "Its former configuration was put back, and it runs with that." in done.stdout, done.stdout
    assert one.ssh("cat", "/etc/docker/daemon.json").stdout == before
    assert one.ssh("docker", "version").returncode == 0


def test_a_reload_and_a_restart_wait_for_a_build_and_leave_containers_alone(farm: Farm, provisioned: Any, tmp_path: Path):
    server = choose("F3", farm.vms)
    one = farm.vms[server]
    assert one.ssh("docker", "run", "--detach", "--name=student", farm.base, "sleep", "600").returncode == 0
    options = ["-e", "course=F3", "-e", json.dumps({"build_command": "sleep 15; echo restart"})]
    run = farm.start("playbooks/build.yml", *options, log=tmp_path / "log")
    wait_for(lambda: "RUN sleep 15" in (tmp_path / "log").read_text(), 60)
    daemon = {"insecure-registries": [farm.registry.address], "log-opts": {"max-size": "9m"}}
    done = farm.run("playbooks/provision.yml", "--limit", server, "-e", json.dumps({"build_server_daemon": daemon}))
    assert done.returncode == 0, done.stdout
    assert re.search(rf"{server} waiting for builds to end … 0\.[0-4] s", done.stdout)
    assert run.wait(60) == 0, (tmp_path / "log").read_text()
    assert '"max-size": "9m"' in one.ssh("cat", "/etc/docker/daemon.json").stdout
    assert one.ssh("docker", "inspect", "--format={{.State.Running}}", "student").stdout.strip() == "true"
    assert one.ssh("docker", "rm", "--force", "student").returncode == 0
    # Taken out of the inventory, it is taken out of the engine.
    assert farm.run("playbooks/provision.yml", "--limit", server).returncode == 0
    assert "9m" not in one.ssh("cat", "/etc/docker/daemon.json").stdout


def test_a_full_disk_is_said_before_the_build_starts(farm: Farm, provisioned: Any):
    farm.server_vars["build_server_min_free_gb"] = 1_000_000
    try:
        done = farm.build("F4", build_command="echo never")
    finally:
        del farm.server_vars["build_server_min_free_gb"]
    assert done.returncode != 0
    assert re.search(r"has \d+ MB free, and a build shall find 1000000000 \(min_free_mb\): make room first", done.stdout), done.stdout
    assert "RUN echo never" not in done.stdout


def test_the_data_root_moves_to_another_disk_with_its_images(farm: Farm, provisioned: Any):
    one = farm.vms["bs2"]
    assert one.ssh("tar -c /etc/hostname | docker import - localhost/test/moves:1").returncode == 0
    images = one.ssh("docker", "images", "--quiet").stdout.split()
    assert images
    farm.server_vars["build_server_daemon"] = {"insecure-registries": [farm.registry.address], "data-root": "/data/docker"}
    try:
        one.ssh("mkdir -p /data && mount -t tmpfs -o size=2g tmpfs /data")
        done = farm.run("playbooks/provision.yml", "--limit", "bs2")
        assert done.returncode == 0, done.stdout
        assert sorted(one.ssh("docker", "images", "--quiet").stdout.split()) == sorted(images)
        assert one.ssh("docker", "info", "--format={{.DockerRootDir}}").stdout.strip() == "/data/docker"
    finally:
        del farm.server_vars["build_server_daemon"]


def test_a_server_that_dies_during_a_build_fails_its_course_alone_and_the_next_run_builds_it_elsewhere(
    farm: Farm, provisioned: Any, tmp_path: Path
):
    dying = choose("F4", farm.vms)
    options = ["-e", "course=all", "-e", json.dumps({"build_command": "sleep 20; echo dies", "live_reconnect_s": 5})]
    run = farm.start("playbooks/build.yml", *options, log=tmp_path / "log")
    text = (tmp_path / "log").read_text
    wait_for(lambda: text().count("RUN sleep 20") >= len(COURSES), 90)
    subprocess.run(["docker", "kill", farm.vms[dying].container], check=True, capture_output=True)
    assert run.wait(240) != 0
    lost = {course for course in COURSES if choose(course, farm.vms) == dying}
    assert set(built_on(text())) == set(COURSES) - lost, text()
    again = farm.run("playbooks/build.yml", *options)
    assert again.returncode == 0, again.stdout[-3000:]
    assert f"{dying} does not answer and is passed over" in again.stdout
    assert set(built_on(again.stdout)) == lost
    assert dying not in built_on(again.stdout).values()
    vm.remove(farm.vms.pop(dying).name)


def test_a_build_server_is_taken_out_of_service(farm: Farm, provisioned: Any):
    name = next(iter(farm.vms))
    done = farm.run("playbooks/decommission.yml", "-e", f"server={name}")
    assert done.returncode == 0, done.stdout
    one = farm.vms[name]
    assert one.ssh("docker", "version").returncode != 0
    assert one.ssh("ls /etc/systemd/system/golden-jobs-prune.timer /etc/golden-jobs/prune.sh").stdout == ""
    wrong = farm.run("playbooks/decommission.yml", "-e", "server=bs99")
    assert "Unknown build server bs99: give -e server=NAME; known: " in wrong.stdout
