"""All courses' images for real: built, tested, pushed and live on both clusters; code-server of OOB2 on its own port."""

from __future__ import annotations

import re
from typing import Any

from tests.platform import CLUSTERS, Platform, get
from tests.support import wait_for

COURSES = ("OOB1", "OOB2", "OOB3", "OOB4")


def test_all_courses_reach_both_clusters_and_a_second_run_changes_nothing(platform: Platform):
    done = platform.rebuild(course="all")
    assert done.returncode == 0, done.stdout[-3000:]
    for course in COURSES:
        for cluster in CLUSTERS:
            assert get(f"{platform.url(cluster, course)}/api").json()["version"]
    again = platform.rebuild(course="all")
    assert again.returncode == 0, again.stdout[-3000:]
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}


def test_code_server_answers_on_its_own_port(platform: Platform):
    for cluster in CLUSTERS:
        job = platform.api(cluster, f"jobs/operator~{platform.current(cluster, 'OOB2')['name']}")
        task = job["taskRoles"]["taskrole"]["taskStatuses"][0]
        address = f"http://{task['containerIp']}:{task['containerPorts']['code']}"
        wait_for(lambda at=address: get(f"{at}/healthz").ok, 60)  # the job is live when Jupyter answers
        assert "vscode" in get(f"{address}/").text


def test_what_code_server_was_compiled_with_is_not_in_the_image(platform: Platform, engine: Any):
    (tag,) = (one for one in platform.tags("shaiic/miniailab") if one != "v1.0")
    programs = "for one in code-server g++ make npm; do ! command -v $one > /dev/null || echo $one; done"
    container = engine.create_container(
        f"{platform.registry_address}/shaiic/miniailab:{tag}", command=["-c", programs], entrypoint=["sh"], network_disabled=True
    )
    try:
        engine.start(container)
        assert engine.wait(container)["StatusCode"] == 0
        assert engine.logs(container).split() == [b"code-server"]
    finally:
        engine.remove_container(container, force=True)


def test_find_says_where_a_logo_is_and_that_it_is_ours(platform: Platform):
    done = platform.run("ansible-playbook", "playbooks/find.yml", "-e", "course=OOB1", "-e", "name=logo.png")
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"/opt/branding/static/logo/logo\.png +\d+ +[0-9a-f]{12} +ours", done.stdout), done.stdout
    for cluster in CLUSTERS:
        assert f"OOB1 on {cluster}: golden-OOB1-" in done.stdout
    assert re.search(r"/static/logo/logo\.png  ours, sha256 [0-9a-f]{12}", done.stdout), done.stdout
