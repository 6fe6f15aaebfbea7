"""All courses' images for real: built, tested, pushed and live on both clusters; code-server of OOB2 on its own port."""

from __future__ import annotations

import re

import pytest

from tests.platform import CLUSTERS, Platform, get

COURSES = ("OOB1", "OOB2", "OOB3", "OOB4")


@pytest.mark.parametrize("course", COURSES)
def test_the_image_is_built_tested_pushed_and_live(platform: Platform, course: str):
    done = platform.rebuild(course=course)
    assert done.returncode == 0, done.stdout[-3000:]
    for cluster in CLUSTERS:
        assert get(f"{platform.url(cluster, course)}/api").json()["version"]


def test_code_server_answers_on_its_own_port(platform: Platform):
    for cluster in CLUSTERS:
        job = platform.api(cluster, f"jobs/operator~{platform.current(cluster, 'OOB2')['name']}")
        task = job["taskRoles"]["taskrole"]["taskStatuses"][0]
        address = f"http://{task['containerIp']}:{task['containerPorts']['code']}"
        assert get(f"{address}/healthz").status_code == 200
        assert "vscode" in get(f"{address}/").text


def test_find_says_where_a_logo_is_and_that_it_is_ours(platform: Platform):
    done = platform.run("ansible-playbook", "playbooks/find.yml", "-e", "course=OOB1", "-e", "name=logo.png")
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"/opt/branding/static/logo/logo\.png +\d+ +[0-9a-f]{12} +ours", done.stdout), done.stdout
    for cluster in CLUSTERS:
        assert f"OOB1 on {cluster}: golden-OOB1-" in done.stdout
    assert re.search(r"/static/logo/logo\.png  ours, sha256 [0-9a-f]{12}", done.stdout), done.stdout
