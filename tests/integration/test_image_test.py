"""image_test on a real engine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.golden_jobs import image_test
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress

from tests.integration.image_modules import Play
from tests.support import Registry, run_module, wait_for

SERVE = "httpd -f -p 8888 -h /www"
PAGE = b"our page"
DOCKERFILE = """
FROM {base}
COPY files/ /
RUN busybox chown 1000:100 /home/bob /home/bob/notes && busybox chmod 4750 /home/bob/notes && busybox ln -s ../home/bob/notes /etc/notes \
 && busybox ln -s /nowhere /etc/broken && busybox mkdir -m 1777 /tmp
ENV COURSE=OOB3
LABEL course=OOB3 empty=""
VOLUME /data
USER bob
"""
FILES = {
    "www/index.html": PAGE,
    "home/bob/notes": b"notes",
    "etc/passwd": b"root:x:0:0::/:/bin/sh\nbob:x:1000:100::/home/bob:/bin/sh\n",
    "etc/group": b"root:x:0:\nusers:x:100:\n",
}


def make_image(engine: Any, name: str, dockerfile: str, files: dict[str, bytes] | None = None) -> str:
    """An image by the engine's own builder."""
    content = {"Dockerfile": dockerfile.encode(), **{f"files/{path}": data for path, data in (files or {}).items()}}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in content.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    buffer.seek(0)
    for event in engine.build(fileobj=buffer, custom_context=True, tag=name, rm=True, forcerm=True, decode=True):
        assert "error" not in event, event
    return name


@pytest.fixture(scope="module")
def image(engine: Any, registry: Registry, tiny_image: str) -> str:
    """A small web server; user bob, a volume, labels and files of several kinds. Removed with tiny_image."""
    return make_image(engine, f"{registry.address}/test/image-test:1", DOCKERFILE.format(base=tiny_image), FILES)


def by_ansible(image: str, *flags: str, **options: Any) -> dict[str, Any]:
    """The module's result as Ansible gets it."""
    return run_module("image_test", *flags, **{"image": image, "command": SERVE, "ready_path": "/index.html", **options})


class Module:
    """What the code behind the module needs of AnsibleModule."""

    check_mode = False

    def __init__(self, params: dict[str, Any]) -> None:
        taken = ArgumentSpecValidator(image_test.SPEC).validate(params)
        assert not taken.error_messages
        self.params = taken.validated_parameters
        self.no_log_values: set[str] = set()

    def warn(self, text: str) -> None:
        raise AssertionError(text)


def smoke_test(image: str, **options: Any) -> dict[str, Any]:
    """The same without Ansible around it, in a tenth of the time."""
    try:
        result = image_test.run(Module({"image": image, "command": SERVE, "ready_path": "/index.html", **options}), Progress(None))
    except GoldenJobsError as error:
        return {**error.details, "msg": str(error), "failed": True}
    return {**result, "failed": False}


def containers(engine: Any, image: str) -> list[Any]:
    return list(engine.containers(all=True, filters={"label": f"golden-jobs.image-test={image}"}))


@pytest.fixture
def nothing_left(engine: Any, image: str) -> Iterator[None]:
    """Whatever the test does, after it there is no container of the image and none of the volumes that such containers had."""
    since = int(time.time())
    yield
    left = containers(engine, image)
    for container in left:
        engine.remove_container(container["Id"], v=True, force=True)
    assert not left
    for name in volumes_of(engine, image, since):
        with pytest.raises(docker.errors.NotFound):
            engine.inspect_volume(name)


def volumes_of(engine: Any, image: str, since: int) -> set[str]:
    """Volumes that containers of image_test have mounted since then, by the engine's events."""

    def events(**filters: Any) -> list[Any]:
        return list(engine.events(since=since, until=int(time.time()) + 1, filters=filters, decode=True))

    ours = {event["Actor"]["ID"] for event in events(event="create", label=f"golden-jobs.image-test={image}")}
    return {event["Actor"]["ID"] for event in events(type="volume", event="mount") if event["Actor"]["Attributes"]["container"] in ours}


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs that are kept without a path go to the test's own folder."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


pytestmark = pytest.mark.usefixtures("nothing_left", "own_folder")


def named(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": json.dumps(check), **check} for check in checks]


def test_an_image_that_is_as_it_should_be_passes_every_kind_of_check(image: str, engine: Any, tmp_path: Path):
    (tmp_path / "page").write_bytes(PAGE)
    sha256 = hashlib.sha256(PAGE).hexdigest()
    checks: list[dict[str, Any]] = [
        {
            "http": "/index.html",
            "sha256": sha256,
            "same_as": str(tmp_path / "page"),
            "contains": "our",
            "header": {"content-type": "^text/html"},
        },
        {"http": "/nothing", "status": 404},
        {"command": "echo one; echo two; exit 3", "rc": 3, "output": "^two$", "contains": "one", "not_contains": "three"},
        {"command": "test $(busybox whoami) = root", "as_user": "root"},
        {"command": "test $(busybox whoami) = bob"},
        {"file": "/www/index.html", "sha256": sha256.upper(), "same_as": str(tmp_path / "page"), "owner": "root:root", "mode": "0644"},
        {"file": "/etc/notes", "owner": "bob:users", "mode": "04750"},
        {"file": "/home/bob", "owner": "1000:100"},
        {"file": "/home/bob", "owner": "bob"},
        {"file": "/www/nothing", "exists": False},
        {"file": "/etc/passwd/nothing", "exists": False},
        {"log_without": "^Traceback"},
        {"port": 8888},
        {"user": "bob"},
        {"user": "1000"},
        {"not_root": True},
        {"label": {"course": "^OOB3$", "empty": None}},
        {"env_without_secret": True},
    ]
    since = int(time.time())
    result = by_ansible(image, checks=named(checks))
    assert volumes_of(engine, image, since), "the image's volume was not mounted: its removal is not tested"
    assert {row["name"]: row["detail"] for row in result["checks"] if not row["passed"]} == {}
    assert not result["failed"]
    assert not result["changed"]
    assert (result["checks_passed"], result["checks_failed"]) == (len(checks), 0)
    assert result["image_id"] == engine.inspect_image(image)["Id"]
    assert result["duration_s"] > 0


def test_all_failed_checks_are_reported_together_with_what_is_wrong(image: str, tmp_path: Path):
    (tmp_path / "logo").write_text("the real logo")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"http": "/index.html", "same_as": str(tmp_path / "logo")}, "/index.html serves other bytes"),
        ({"http": "/nothing"}, "/nothing answers 404 instead of 200"),
        ({"http": "/index.html", "header": {"X-Frame-Options": "deny"}}, "has no header X-Frame-Options"),
        ({"command": "echo why; false"}, "ended with 1: why"),
        ({"command": "true", "rc": 2}, "ended with 0 instead of 2: no output"),
        ({"command": "echo two", "output": "^one$"}, "prints nothing that matches '^one$': two"),
        ({"command": "true", "as_user": "nobody-there"}, "nobody-there"),
        ({"command": "sleep 600", "timeout_s": 1}, "`sleep 600` did not end within 1 s"),
        ({"command": "busybox yes", "timeout_s": 1}, "`busybox yes` did not end within 1 s: y"),
        ({"file": "/www/nothing"}, "/www/nothing does not exist"),
        ({"file": "/etc/broken"}, "/etc/broken leads nowhere (a link to /nowhere)"),
        ({"file": "/etc/broken", "exists": False}, "/etc/broken exists (a link to /nowhere)"),
        ({"file": "/etc/notes", "mode": "0640"}, "has the mode 4750 instead of 0640"),
        ({"file": "/etc/notes", "owner": "root"}, "belongs to 1000 instead of 0 (root)"),
        ({"file": "/etc/notes", "owner": "bob:0"}, "belongs to 1000:100 instead of 1000:0 (bob:0)"),
        ({"file": "/etc/notes", "owner": "eve"}, "no user 'eve'"),
        ({"file": "/www", "sha256": "0" * 64}, "/www is no file"),
        ({"file": "/www/index.html", "same_as": str(tmp_path / "logo")}, "has other bytes"),
        ({"port": 9999, "timeout_s": 1}, "port 9999 did not answer within 1 s"),
        ({"user": "root"}, "runs as 'bob' instead of 'root'"),
        ({"label": {"course": "OOB4"}}, "the label course is 'OOB3', which does not match 'OOB4'"),
        ({"label": {"nothing": ""}}, "no label nothing"),
        ({"log_without": "golden.*log"}, "the log has 'a golden line for the log'"),
    ]
    good = {"http": "/index.html", "contains": "our page"}
    command = f"echo a golden line for the log; exec {SERVE}"
    failed = by_ansible(
        image, command=command, checks=named([*(check for check, _says in wrong), good]), log_path=str(tmp_path / "test.log")
    )
    assert failed["failed"]
    assert f"{len(wrong)} of {len(wrong) + 1} checks of {image} failed: " in failed["msg"]
    assert (failed["checks_passed"], failed["checks_failed"]) == (1, len(wrong))
    rows = {row["name"]: row for row in failed["checks"]}
    for check, says in wrong:
        row = rows[json.dumps(check)]
        assert not row["passed"]
        assert says in row["detail"]
        assert says in failed["msg"]
    assert rows[json.dumps(good)]["passed"]
    assert failed["log"] == str(tmp_path / "test.log")
    assert failed["msg"].endswith("a golden line for the log")


MEET = "echo > /tmp/{mine}; until test -e /tmp/{other}; do busybox usleep 20000; done"


def test_checks_run_side_by_side_and_are_reported_in_the_order_in_which_they_are_written(image: str, tmp_path: Path):
    """Two commands wait for each other in the container."""
    checks = [
        {"name": "slow", "command": f"{MEET.format(mine='a', other='b')}; sleep 1"},  # the others have long ended
        {"name": "log", "log_without": "it is not there yet"},
        {"name": "quick", "command": MEET.format(mine="b", other="a")},
        {"name": "page", "http": "/index.html"},
    ]
    progress = tmp_path / "progress"
    options = {"image": image, "command": SERVE, "ready_path": "/index.html", "checks": checks}
    result = image_test.run(Module(options), Progress(str(progress)))
    assert [(row["name"], row["passed"]) for row in result["checks"]] == [(check["name"], True) for check in checks]
    said = [json.loads(line)["text"].split()[1] for line in progress.read_text().splitlines() if json.loads(line)["text"].startswith("ok ")]
    assert said == [check["name"] for check in checks]


def test_the_log_check_sees_what_a_check_that_is_written_after_it_makes_the_server_say(image: str):
    command = f"busybox mkfifo /tmp/said; while :; do cat /tmp/said; done & exec {SERVE}"
    checks = [{"name": "log", "log_without": "a late word"}, {"name": "says it", "command": "echo a late word > /tmp/said; sleep 1"}]
    failed = smoke_test(image, command=command, checks=checks)
    assert [row["passed"] for row in failed["checks"]] == [False, True]
    assert failed["checks"][0]["detail"] == "the log has 'a late word'"


def test_a_command_that_needs_no_server_begins_before_it_is_ready(image: str):
    """The server waits for the command: otherwise neither would ever begin."""
    command = f"until test -e /tmp/early; do busybox usleep 20000; done; exec {SERVE}"
    checks = [{"name": "early", "command": "echo > /tmp/early", "needs_server": False}, {"name": "page", "http": "/index.html"}]
    passed = smoke_test(image, command=command, checks=checks, wait_timeout_s=60)
    assert not passed["failed"], passed
    failed = smoke_test(
        image, command="exit 3", checks=[{"name": "early", "command": "sleep 600", "timeout_s": 600, "needs_server": False}]
    )
    assert "ended with exit code 3 before it answered" in failed["msg"]
    assert failed["checks"] == []


def test_root_and_secrets_in_an_image_are_found(image: str, engine: Any, registry: Registry):
    dockerfile = (
        f"FROM {image}\nUSER 0\nARG NPM_TOKEN\nRUN true\nENV HTTP_PROXY=http://bob:hush-hush@proxy.example.com:3128\n"
        "RUN echo --password hush-hush2 > /dev/null\n"
    )
    leaky = make_image(engine, f"{registry.address}/test/image-test:leaky", dockerfile)
    failed = smoke_test(leaky, checks=[{"name": "user", "not_root": True}, {"name": "secrets", "env_without_secret": True}])
    assert [row["passed"] for row in failed["checks"]] == [False, False]
    assert failed["checks"][0]["detail"] == "the image runs as root"
    assert "the variable HTTP_PROXY holds a URL with a password (host proxy.example.com)" in failed["checks"][1]["detail"]
    assert "gives password a value" in failed["checks"][1]["detail"]
    assert "hush-hush" not in json.dumps(failed)
    assert not containers(engine, leaky)


def test_commands_run_by_sh_where_there_is_no_bash_and_files_are_seen_without_any_shell(engine: Any, registry: Registry, tiny_image: str):
    no_bash = make_image(
        engine, f"{registry.address}/test/image-test:no-bash", f"FROM {tiny_image}\nRUN busybox rm /bin/bash\nCMD httpd -f -p 8888 -h /\n"
    )
    started = {"command": None, "port": 0}
    passed = smoke_test(no_bash, checks=[{"name": "sh", "command": "test -e /bin/sh && test ! -e /bin/bash"}], **started)
    assert not passed["failed"], passed["msg"]

    dockerfile = f'FROM {no_bash}\nRUN ["busybox", "rm", "/bin/sh"]\nENTRYPOINT ["httpd", "-f", "-p", "8888", "-h", "/"]\nCMD []\n'
    no_shell = make_image(engine, f"{registry.address}/test/image-test:no-shell", dockerfile)
    checks = [
        {"name": "file", "file": "/bin/busybox"},
        {"name": "gone", "file": "/bin/sh", "exists": False},
        {"name": "command", "command": "true"},
    ]
    failed = smoke_test(no_shell, checks=checks, **started)
    assert [row["passed"] for row in failed["checks"]] == [True, True, False]
    assert "neither bash nor sh can be started" in failed["msg"]

    without_bash = smoke_test(no_bash, checks=[])
    assert "does not start" in without_bash["msg"]
    assert "bash" in without_bash["msg"]
    assert not containers(engine, no_bash) + containers(engine, no_shell)


def test_an_image_without_a_server_is_checked_by_commands_or_after_its_end(image: str):
    command = [{"name": "it", "command": "true"}]
    assert not smoke_test(image, command="sleep 600", port=0, checks=command)["failed"]
    after = [{"name": "log", "log_without": "error"}, {"name": "file", "file": "/www/index.html"}]
    assert not smoke_test(image, command="echo all is well", port=0, checks=after)["failed"]
    assert (
        "ended with exit code 0 before the checks: what it starts has to stay"
        in smoke_test(image, command="true", port=0, checks=command)["msg"]
    )
    assert "ended with exit code 7 before the checks" in smoke_test(image, command="exit 7", port=0, checks=after)["msg"]


def test_a_server_without_a_page_is_ready_when_its_port_answers(image: str):
    result = smoke_test(image, ready_path="", checks=[{"name": "our page", "http": "/index.html", "contains": "our page"}])
    assert not result["failed"], result


def test_a_container_that_ends_is_reported_with_its_log(image: str, tmp_path: Path):
    lines = "; ".join(f"echo line {number} of the log" for number in range(40))
    failed = smoke_test(image, command=f"{lines}; false", log_path=str(tmp_path / "test.log"))
    assert "ended with exit code 1 before it answered" in failed["msg"]
    kept = (tmp_path / "test.log").read_text().splitlines()
    assert len(kept) == 40
    assert failed["msg"].splitlines()[1:] == kept[-30:]
    assert stat.S_IMODE((tmp_path / "test.log").stat().st_mode) == 0o600


def test_a_server_that_leaves_the_foreground_is_told_so(image: str):
    failed = smoke_test(image, command="httpd -p 8888 -h /www")
    assert "ended with exit code 0 before it answered: what it starts has to stay in the foreground" in failed["msg"]


def test_a_container_that_never_answers_is_given_up_in_time(image: str):
    failed = smoke_test(image, command="sleep 600", wait_timeout_s=1)
    assert "did not answer /index.html with 200 within 1 s" in failed["msg"]


def test_a_container_that_ends_during_the_checks_fails_the_test(image: str):
    command = "busybox mkfifo /tmp/end; httpd -p 8888 -h /www; cat /tmp/end; exit 9"
    failed = smoke_test(image, command=command, checks=[{"name": "end it", "command": "echo x > /tmp/end; sleep 600", "timeout_s": 60}])
    assert "ended with exit code 9 while it was checked: end it" in failed["msg"]


def test_out_of_memory_is_called_by_its_name(image: str):
    failed = smoke_test(image, command="busybox tail /dev/zero", memory_mb=16)
    assert "ended with exit code 137, out of memory (limit 16 MiB), before it answered" in failed["msg"]
    failed = smoke_test(image, memory_mb=16, checks=[{"name": "greedy", "command": "busybox tail /dev/zero"}])
    assert "ended with 137, out of memory (limit 16 MiB)" in failed["checks"][0]["detail"]


def test_secrets_of_the_job_are_in_no_message_and_not_in_the_kept_log(image: str):
    env = {"DB_PASSWORD": "by-name-4711", "URL": "http://bob:by-value-4711@example.com/", "PLAIN": "to be seen"}
    command = 'echo "$DB_PASSWORD $URL $PLAIN by-option-4711"; exec httpd -f -p 8888 -h /www'
    checks = [{"name": "tells", "command": 'echo "$DB_PASSWORD by-option-4711"; false'}]
    failed = by_ansible(image, "-vvv", command=command, env=env, hide=["by-option-4711"], checks=checks)
    assert failed["checks"][0]["detail"].endswith("ended with 1: ******** ********")
    kept = Path(failed["log"])  # where no path is given: a file of its own
    assert "to be seen" in kept.read_text()
    assert "4711" not in kept.read_text() + json.dumps(failed)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_proxy_of_the_hosts_docker_configuration_is_not_given_to_the_container(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": {"httpProxy": "http://proxy.example.com:3128"}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    result = smoke_test(image, checks=[{"name": "no proxy", "command": 'test -z "${HTTP_PROXY:-}${http_proxy:-}"'}])
    assert not result["failed"], result


def test_check_mode_starts_nothing_and_refuses_bad_input(image: str):
    planned = by_ansible(image, "--check", checks=[{"name": "it", "command": "true"}])
    assert planned["msg"] == f"would start {image} and run 1 checks"
    assert not planned["changed"]
    refused = by_ansible(image, "--check", checks=[{"name": "it", "command": "true", "http": "/"}])
    assert refused["failed"]
    assert "needs exactly one of" in refused["msg"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image": "127.0.0.1:1/no/such:image"}, "The image 127.0.0.1:1/no/such:image is not in this engine: build or pull it first."),
        ({"docker_host": "unix:///no/such/socket"}, "No Docker engine answers at unix:///no/such/socket"),
        ({"port": 70000}, "The port 70000 is not allowed"),
        ({"ready_path": "api"}, "The ready_path 'api' is not allowed"),
        ({"memory_mb": 1}, "The memory_mb 1 is not allowed"),
        (
            {"checks": [{"name": "it", "http": "/", "same_as": "/no/such/file"}]},
            "/no/such/file to compare with does not exist on this host",
        ),
    ],
)
def test_what_cannot_be_tested_is_refused_in_one_sentence(image: str, options: dict[str, Any], says: str):
    failed = smoke_test(**{"image": image, **options})
    assert failed["failed"]
    assert says in failed["msg"]
    assert len(failed["msg"].splitlines()) == 1


def test_the_terminal_shows_a_line_per_check_and_that_a_long_one_still_runs(image: str, tmp_path: Path):
    checks = [
        {"name": "our page", "http": "/index.html"},
        {"name": "a long check", "command": "sleep 12"},
        {"name": "wrong", "command": "false"},
    ]
    play = Play(
        tmp_path,
        "image_test",
        {"image": image, "command": SERVE, "ready_path": "/index.html", "checks": checks, "log_path": str(tmp_path / "log")},
    )
    code, shown = play.end()
    assert code != 0
    words = [" ".join(line.split()) for line in play.lines]
    assert any("ok our page http " in line for line in words), shown
    assert any("ok a long check command " in line for line in words), shown
    assert any("FAILED wrong command " in line and line.endswith("`false` ended with 1: no output") for line in words), shown
    assert any("a long check: still runs, " in line for line in play.lines), shown


class Running:
    """A test that goes on until it is ended: its container, and the process that owns it."""

    def __init__(self, folder: Path, engine: Any, image: str) -> None:
        folder.mkdir()
        checks = [{"name": "waits", "command": "sleep 600", "timeout_s": 600}]
        self.play = Play(folder, "image_test", {"image": image, "command": SERVE, "ready_path": "/index.html", "checks": checks})
        wait_for(lambda: self.play.process.poll() is not None or self._checked(engine, image), 120)
        assert self.play.process.poll() is None, self.play.lines
        container = engine.inspect_container(containers(engine, image)[0]["Id"])
        self.id = container["Id"]
        self.owner = int(container["Config"]["Labels"]["golden-jobs.image-test.owner"].split()[2])
        self.volumes = [mount["Name"] for mount in container["Mounts"]]
        self.ports = container["NetworkSettings"]["Ports"]
        self.engine = engine

    @staticmethod
    def _checked(engine: Any, image: str) -> bool:
        try:
            return any(engine.inspect_container(found["Id"])["ExecIDs"] for found in containers(engine, image))
        except docker.errors.NotFound:
            return False

    def exists(self) -> bool:
        return bool(self.engine.containers(all=True, filters={"id": self.id}))

    def has_volumes(self) -> bool:
        try:
            return any(self.engine.inspect_volume(name) for name in self.volumes)
        except docker.errors.NotFound:
            return False


def test_the_next_test_removes_what_a_killed_one_has_left_with_its_volume(image: str, engine: Any, tmp_path: Path):
    killed = Running(tmp_path / "killed", engine, image)
    os.kill(killed.owner, signal.SIGKILL)
    assert killed.play.end()[0] != 0
    assert killed.exists()
    assert killed.volumes
    assert killed.has_volumes()
    assert not smoke_test(image)["failed"]
    assert not killed.exists()
    assert not killed.has_volumes()


def test_a_test_under_way_keeps_its_container_and_takes_it_along_when_it_is_ended(image: str, engine: Any, tmp_path: Path):
    running = Running(tmp_path / "running", engine, image)
    assert {binding["HostIp"] for bindings in running.ports.values() for binding in bindings or []} == {"127.0.0.1"}
    assert not smoke_test(image)["failed"]
    assert running.exists()
    os.kill(running.owner, signal.SIGTERM)
    code, shown = running.play.end()
    assert code != 0
    assert "Interrupted" in shown
    assert not running.exists()
    assert not running.has_volumes()
