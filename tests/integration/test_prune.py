"""prune.yml on a real registry, a real engine and PAI sandboxes: what is live, needed or new stays; the rest goes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest
import yaml
from ansible.module_utils.golden_jobs.pai_client import PaiClient

from tests.clusters import Clusters, clusters
from tests.sandbox import PASSWORD
from tests.support import ROOT, Registry, ansible_environment

REPOSITORY = "prune/course"


def tag(number: int) -> str:
    return f"v1-{number:012x}"


@pytest.fixture
def images(engine: Any, registry: Registry) -> Iterator[str]:
    """Six images of a course, the newest with the moving tag; in the registry and in the engine."""
    name = f"{registry.address}/{REPOSITORY}"
    login = {"username": registry.username, "password": registry.password}
    for number in range(1, 7):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(f"file-{number}"))
        engine.import_image_from_data(archive.getvalue(), repository=name, tag=tag(number))
        tags = [tag(number), *(["v1"] if number == 6 else [])]
        for each in tags:
            engine.tag(f"{name}:{tag(number)}", name, each)
            assert not [event for event in engine.push(name, tag=each, auth_config=login, stream=True, decode=True) if "error" in event]
    yield name
    for image in engine.images(name):
        for each in image["RepoTags"] or []:
            try:
                engine.remove_image(each, force=True)
            except docker.errors.ImageNotFound:
                continue


@pytest.fixture
def fleet(tmp_path: Path, registry: Registry, images: str) -> Iterator[Clusters]:
    with clusters(tmp_path / "fleet", 2) as running:
        running.vars["rollout_serial"] = ["100%"]
        running.course_vars["OOB3"] = {"course_image": REPOSITORY}
        running.registry = {"registry_address": registry.address, **registry.login}
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        children = {"build_servers": {"hosts": {"none": here}}}
        (tmp_path / "more.json").write_text(json.dumps({"all": {"children": children}}))
        for number in (1, 2):
            running.image(number)
            done = play(running, "rollout", "-e", "course=all")
            assert done.returncode == 0, done.stdout + done.stderr
        yield running


def play(fleet: Clusters, playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
    more = fleet.folder.parent / "more.json"
    argv = ["ansible-playbook", "-i", str(fleet.inventory()), "-i", str(more), f"playbooks/{playbook}.yml", *options]
    return subprocess.run(argv, cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, check=False, timeout=240)


def test_only_what_nobody_needs_is_deleted(fleet: Clusters, images: str, registry: Registry, engine: Any):
    everything = ["v1", *map(tag, range(1, 7))]
    options = ("-e", "prune_keep=1", "-e", "prune_rollback=1", "-e", "prune_min_age_s=0", "-e", "prune_idle_s=0")
    # What an interrupted run leaves.
    left = f"golden-OOB3-{'0' * 8}-1"
    client = PaiClient(fleet.sandboxes.url("c1"), username="op", password=PASSWORD)
    config = client.get_config(fleet.current("c1")["name"]) or {}
    secrets = dict.fromkeys(re.findall(r"\$secrets\.(\w+)", json.dumps(config)), "x")
    client.post_job(yaml.safe_dump({**config, "name": left, "secrets": secrets}))

    check = play(fleet, "prune", *options, "--check")
    assert check.returncode == 0, check.stdout + check.stderr
    assert registry.tags(REPOSITORY) == sorted(everything)
    assert f"c1: {left} runs beside the live one and never took over: to be stopped" in check.stdout
    assert (client.get_job(left) or {})["jobStatus"]["executionType"] == "START"
    assert {word for line in check.stdout.splitlines() if line.startswith("delete") for word in line.split() if ":v1-" in word} == {
        f"{images}:{tag(number)}" for number in (3, 4, 5)
    }

    partly = play(fleet, "prune", *options, "--limit", "c1,registries,build_servers")
    assert partly.returncode != 0
    assert "Not known what runs on c2" in partly.stdout
    fleet.host_vars["c2"] = {"pai_address": "http://127.0.0.1:9"}
    down = play(fleet, "prune", *options)
    assert down.returncode != 0
    fleet.host_vars["c2"] = {}
    assert registry.tags(REPOSITORY) == sorted(everything)

    done = play(fleet, "prune", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = {"v1", tag(6), tag(2), tag(1)}  # named by the moving tag, live, needed for a rollback
    assert set(registry.tags(REPOSITORY)) == kept
    found = {each for image in engine.images(images) for each in image["RepoTags"] or []}
    assert found == {f"{images}:{each}" for each in kept}
    assert (client.get_job(left) or {})["jobStatus"]["state"] == "STOPPED"
    assert {fleet.current(cluster)["state"] for cluster in fleet.names} == {"RUNNING"}
    again = play(fleet, "prune", *options)
    client.close()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "  changed  " not in again.stdout
