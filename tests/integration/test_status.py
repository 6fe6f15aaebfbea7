"""status.yml and adopt.yml on PAI sandboxes; the page in a real browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.golden_jobs import golden_job
from ansible.module_utils.golden_jobs.pai_client import PaiClient

from tests.browser import Browser
from tests.clusters import Clusters, clusters
from tests.platform import Platform
from tests.pusher import Pusher
from tests.sandbox import PASSWORD
from tests.support import Registry, ansible_environment, wait_for


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project: what writes into the project writes there."""
    return Platform.clone(tmp_path_factory.mktemp("clone")).project


@pytest.fixture(scope="module")
def pusher(registry: Registry) -> Pusher:
    """Has pushed what the courses' images are: v1 names the first one."""
    pusher = Pusher(registry.address, (registry.username, registry.password))
    for repository in ("a/course", "a/other"):
        pusher.image(repository, tag(1), "v1")
    pusher.image("a/course", tag(7), label="seven")
    return pusher


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, registry: Registry, pusher: Pusher) -> Iterator[Clusters]:
    with clusters(tmp_path_factory.mktemp("fleet") / "clusters", 3, ("OOB3", "OOB4")) as running:
        running.registry = {"registry_address": registry.address, **registry.login}
        running.course_vars["OOB4"] = {"course_image": "a/other", "course_title": "The <other> course"}
        running.vars["rollout_serial"] = ["100%"]
        for course in running.course_vars:
            running.image(1, course)
        yield running


def tag(number: int) -> str:
    return f"v1-{number:012x}"


def play(fleet: Clusters, project: Path, playbook: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = ["ansible-playbook", "-i", str(fleet.inventory()), f"playbooks/{playbook}.yml", *options]
    return subprocess.run(
        argv, cwd=project, env={**ansible_environment(project), **env}, capture_output=True, text=True, check=False, timeout=240
    )


def rows(fleet: Clusters, project: Path, *options: str) -> dict[tuple[str, str], dict[str, Any]]:
    done = play(fleet, project, "status", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((project / "reports" / "status.json").read_text())
    return {(row["course"], row["cluster"]): row for row in found["rows"]}


def client(fleet: Clusters, cluster: str) -> PaiClient:
    return PaiClient(fleet.sandboxes.url(cluster), username="op", password=PASSWORD)


def test_what_people_did_by_hand_is_found_and_a_rollout_repairs_it(fleet: Clusters, project: Path, pusher: Pusher):
    fleet.course_vars["OOB4"]["course_image_digest"] = pusher.image("a/other", tag(1))
    done = play(fleet, project, "rollout", "-e", "course=all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {(row["state"], row["reason"]) for row in rows(fleet, project).values()} == {("current", "")}
    with client(fleet, "c1") as c1, client(fleet, "c2") as c2, client(fleet, "c3") as c3:
        c1.stop(fleet.current("c1")["name"])
        c2.remove_tag(fleet.current("c2")["name"], golden_job.TAG_CURRENT)
        config = c3.get_config(fleet.current("c3", "OOB4")["name"])
        assert config is not None
        c3.stop(fleet.current("c3", "OOB4")["name"])
        secrets = dict.fromkeys(re.findall(r"\$secrets\.(\w+)", json.dumps(config)), "typed in again")  # as the portal's clone wants it
        c3.post_job(yaml.safe_dump({**config, "name": "by-hand", "secrets": secrets}))
        for each in ("golden-job:OOB4", golden_job.TAG_CURRENT):
            c3.add_tag("by-hand", each)
        wait_for(lambda: (c3.get_job("by-hand") or {"jobStatus": {"state": ""}})["jobStatus"]["state"] == "RUNNING")
    moved = pusher.image("a/other", tag(1), label="somebody pushed over it")
    found = rows(fleet, project)
    drifted = {place: row["reason"] for place, row in found.items() if row["state"] == "drifted"}
    assert set(drifted) == {("OOB3", "c1"), ("OOB3", "c2"), ("OOB4", "c1"), ("OOB4", "c2"), ("OOB4", "c3")}
    assert "was stopped by hand" in drifted["OOB3", "c1"]
    assert "the tag golden-current was taken" in drifted["OOB3", "c2"]
    assert f"the registry's tag {tag(1)} moved" in drifted["OOB4", "c1"]
    assert moved[:19] in drifted["OOB4", "c2"]
    assert "by-hand was put in the place" in drifted["OOB4", "c3"]
    assert found["OOB3", "c1"]["history"][0]["by"]
    fleet.course_vars["OOB4"]["course_image_digest"] = moved  # as a rollout finds it in the registry
    again = play(fleet, project, "rollout", "-e", "course=all")
    assert again.returncode == 0, again.stdout + again.stderr
    assert {(row["state"], row["reason"]) for row in rows(fleet, project).values()} == {("current", "")}
    for course in fleet.images:
        for cluster in fleet.names:
            fleet.current(cluster, course)  # one, alone


def test_a_cluster_that_is_down_is_a_row_and_a_new_image_is_outdated(fleet: Clusters, project: Path):
    fleet.image(7)
    fleet.host_vars["c2"] = {"pai_address": "http://127.0.0.1:9"}
    try:
        done = play(fleet, project, "status", "-e", "course=OOB3")
        assert done.returncode == 0, done.stdout
        assert re.search(r"OOB3 +c2 +unreachable", done.stdout)
        assert re.search(r"OOB3 +c1 +outdated", done.stdout)
        assert "OOB4" not in done.stdout
    finally:
        fleet.host_vars["c2"] = {}
        fleet.image(1)


def screen(browser: Browser, width: int, height: int, mobile: bool) -> None:
    """A window narrower than 500 px cannot be had: a phone is asked for by the device's width instead."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser._do("POST", "goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})


def test_the_page_opens_without_network_and_fits_a_phone(fleet: Clusters, project: Path):
    """Also the picture of the README: `tools/screenshots.py`."""
    fleet.image(7)
    fleet.course_vars["OOB5"], fleet.images["OOB5"] = {"course_title": "Not there yet"}, fleet.images["OOB3"]
    with client(fleet, "c1") as c1, client(fleet, "c3") as c3:
        c1.stop(fleet.current("c1", "OOB4")["name"])
        c3.add_tag(fleet.current("c3")["name"], golden_job.hold_tag("OOB3", "bob@desk", time.time(), "exam week"))
    fleet.host_vars["c2"] = {"pai_address": "http://127.0.0.1:9"}
    try:
        found = rows(fleet, project)
    finally:
        fleet.host_vars["c2"] = {}
        fleet.image(1)
        del fleet.course_vars["OOB5"], fleet.images["OOB5"]
    wanted = {"current", "held", "outdated", "drifted", "missing", "unreachable"}
    assert {row["state"] for row in found.values()} == wanted
    page = project / "reports" / "status.html"
    text = page.read_text()
    assert not re.search(r"<script|@import|url\(|<link[^>]+href=\"(?!data:)|src=", text)
    assert PASSWORD not in text
    assert "The &lt;other&gt; course" in text
    with Browser() as browser:
        browser.open(page.as_uri())
        browser.wait("table.rows .state")
        states = browser.script("return [...document.querySelectorAll('.state')].map(e => [e.innerText, e.querySelector('svg').innerHTML])")
        shapes = {word.strip(): shape for word, shape in states}
        assert set(shapes) == wanted
        assert len(set(shapes.values())) == len(wanted)  # told without the colour
        addresses = browser.script("return [...document.querySelectorAll('a[href^=http]')].map(e => e.href)")
        assert {row["url"].rstrip("/") for row in found.values() if row["url"]} == {address.rstrip("/") for address in addresses}
        assert browser.script("return performance.getEntriesByType('resource').length") == 0
        if "GOLDEN_JOBS_SCREENSHOTS" in os.environ:
            screen(browser, 1000, 900, mobile=False)
            browser.save(Path(os.environ["GOLDEN_JOBS_SCREENSHOTS"]) / "status.png")
        for width in (390, 360):
            screen(browser, width, 740, mobile=True)
            browser.open(page.as_uri())
            browser.wait("table.rows .state")
            assert browser.script("return innerWidth") == width
            assert browser.script("return document.documentElement.scrollWidth") <= width
            assert browser.style("table.rows tr", "display") == "block"


def test_a_job_made_by_hand_becomes_a_course(fleet: Clusters, project: Path):
    catalogue = (project / "inventory" / "courses.yml").read_text()
    role = {
        "instances": 1,
        "dockerImage": "i",
        "resourcePerInstance": {"cpu": 1, "memoryMB": 64, "gpu": 0},
        "commands": ["serve <% $secrets.key %>"],
    }
    image = {
        "type": "dockerimage",
        "name": "i",
        "uri": "hub.example/lab/data.science:v2",
        "auth": {"username": "u", "password": "<% $secrets.pw %>", "registryuri": "hub.example"},
    }
    job = {"protocolVersion": 2, "name": "jupyter_v3", "type": "job", "prerequisites": [image], "taskRoles": {"web": role}}
    with client(fleet, "c1") as c1:
        c1.post_job(
            yaml.safe_dump({**job, "secrets": {"key": "s3cr3t-value", "pw": "an0ther-value"}}, default_flow_style=False, sort_keys=False)
        )
        options = ("-e", "cluster=c1", "-e", "job=jupyter_v3", "-e", "course=DS1", "-e", "title='Data science'")
        wait_for(lambda: (c1.get_job("jupyter_v3") or {"jobStatus": {"state": ""}})["jobStatus"]["state"] == "RUNNING")
        check = play(fleet, project, "adopt", *options, "--check", "--diff")
        assert check.returncode == 0, check.stdout + check.stderr
        assert (project / "inventory" / "courses.yml").read_text() == catalogue
        assert (c1.get_job("jupyter_v3") or {})["tags"] == []
        done = play(fleet, project, "adopt", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert set((c1.get_job("jupyter_v3") or {})["tags"]) == {"golden-job:DS1", golden_job.TAG_CURRENT}
    written = (project / "yamls" / "DS1-data.science.yaml").read_text()
    assert "s3cr3t-value" not in written + done.stdout
    assert "golden_job_secrets" in written
    assert yaml.safe_load(written)["prerequisites"] == [{key: image[key] for key in ("type", "name", "uri")}]
    after = (project / "inventory" / "courses.yml").read_text()
    assert [line for line in catalogue.splitlines() if line not in after.splitlines()] == []
    entry = yaml.safe_load(after)["courses"]["hosts"]["DS1"]
    assert entry == {
        "course_title": "Data science",
        "course_image": "lab/data.science",
        "course_version": "v2",
        "course_job": "yamls/DS1-data.science.yaml",
    }

    again = play(fleet, project, "adopt", *options)
    assert again.returncode != 0
    assert "The course DS1 is in the catalogue already; choose another name." in " ".join(again.stdout.split())
    assert (project / "inventory" / "courses.yml").read_text() == after


def test_an_adopted_job_is_outdated_until_a_rollout_takes_over(fleet: Clusters, project: Path, pusher: Pusher):
    pusher.image("lab/data.science", tag(1), "v2")
    fleet.course_vars["DS1"] = {**yaml.safe_load((project / "inventory" / "courses.yml").read_text())["courses"]["hosts"]["DS1"]}
    fleet.image(1, "DS1")
    fleet.vars["golden_job_secrets"] = {"key": "s3cr3t-value", "pw": "an0ther-value"}
    try:
        known = play(fleet, project, "adopt", "-e", "cluster=c1", "-e", "job=jupyter_v3", "-e", "course=DS1")
        assert known.returncode != 0
        assert "The course DS1 is in the catalogue already" in known.stdout
        row = rows(fleet, project, "-e", "course=DS1", "--limit", "c1")["DS1", "c1"]
        assert (row["state"], row["name"]) == ("outdated", "jupyter_v3")
        assert "was made by hand and adopted" in row["reason"]
        done = play(fleet, project, "rollout", "-e", "course=DS1", "-e", "cluster=c1")
        assert done.returncode == 0, done.stdout + done.stderr
        live = fleet.current("c1", "DS1")
        assert (golden_job.parse_name(live["name"]) or {})["course"] == "DS1"
        with client(fleet, "c1") as c1:
            wait_for(lambda: (c1.get_job("jupyter_v3") or {})["jobStatus"]["state"] == "STOPPED")
            config = c1.get_config(live["name"]) or {}
        assert next(iter(config["taskRoles"].values()))["commands"] == ["serve <% $secrets.key %>"]
        assert rows(fleet, project, "-e", "course=DS1", "--limit", "c1")["DS1", "c1"]["state"] == "current"
    finally:
        del fleet.course_vars["DS1"], fleet.images["DS1"], fleet.vars["golden_job_secrets"]
