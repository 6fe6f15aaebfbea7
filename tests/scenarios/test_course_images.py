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


def printed(platform: Platform, engine: Any, repository: str, script: str) -> list[bytes]:
    """The words that a shell prints, errors as well, in a container of the course's image."""
    (tag,) = (one for one in platform.tags(repository) if one != "v1.0")
    image = f"{platform.registry_address}/{repository}:{tag}"
    container = engine.create_container(image, command=["-c", script], entrypoint=["sh"], network_disabled=True)
    try:
        engine.start(container)
        assert engine.wait(container)["StatusCode"] == 0
        return engine.logs(container).split()
    finally:
        engine.remove_container(container, force=True)


def test_what_code_server_was_compiled_with_is_not_in_the_image(platform: Platform, engine: Any):
    programs = "for one in code-server g++ make npm; do ! command -v $one > /dev/null || echo $one; done"
    assert printed(platform, engine, "shaiic/miniailab", programs) == [b"code-server"]


def test_tensorflow_computes_without_its_headers(platform: Platform, engine: Any):
    script = """python3 -c 'import tensorflow as tf; print(float(tf.reduce_sum(tf.ones([6, 7]))))
import pathlib; print((pathlib.Path(tf.__file__).parent / "include").exists())' 2> /dev/null"""
    assert printed(platform, engine, "shaiic/tf.keras.gpu", script) == [b"42.0", b"False"]


def test_find_says_where_a_logo_is_and_that_it_is_ours(platform: Platform):
    done = platform.run("ansible-playbook", "playbooks/find.yml", "-e", "course=OOB1", "-e", "name=logo.png")
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"/opt/branding/static/logo/logo\.png +\d+ +[0-9a-f]{12} +ours", done.stdout), done.stdout
    for cluster in CLUSTERS:
        assert f"OOB1 on {cluster}: golden-OOB1-" in done.stdout
    assert re.search(r"/static/logo/logo\.png  ours, sha256 [0-9a-f]{12}", done.stdout), done.stdout


def test_a_requirement_more_does_not_send_tensorflow_again(platform: Platform):
    with (platform.project / "dockerfiles" / "OOB4" / "requirements.course.txt").open("a") as requirements:
        requirements.write("seaborn>=0.13,<0.14\n")
    done = platform.run("ansible-playbook", "playbooks/build.yml", "-e", "course=OOB4")
    assert done.returncode == 0, done.stdout[-3000:]
    (sent_mb,) = re.findall(r"OOB4 pushed .* s, (\d+) MB sent, \d+ layers pushed", done.stdout)
    assert 0 < int(sent_mb) < 400
