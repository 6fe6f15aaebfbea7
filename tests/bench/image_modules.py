"""docker_build and docker_push against what people use without them, in one run.

- An image that is there already: docker_build, against `docker build` fully cached and against community.docker.docker_image, which comes with
  the PyPI package `ansible` in a virtual environment of its own (`.cache/bench/`, made on first use). docker_image looks only whether the name
  exists; with `force_source` it builds, from the engine's cache. docker_image_build needs buildx, which Debian 12 does not have.
- A cold build: docker_build against `docker build --no-cache`, each with a context that the engine has never seen.
- A push: push.py.

What Ansible takes to start is stated by itself: no module can save it. Needs an engine on this machine and BuildKit; installs Debian's
docker-registry. Removes what it makes, the builder's cache of it too. `--only unchanged|build|push` runs one part.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import push
from tests.bench.build_cache import pruned_build_cache
from tests.bench.measure import ROOT, clean_up_when_terminated, command, goal, machine, medians, row, seconds, take_turns
from tests.bench.plays import Ansible, docker_cli
from tests.support import run_module, static_busybox

UNCHANGED_ROUNDS, COLD_ROUNDS = 5, 3
#: Of a cold build by docker_build, with Ansible's start, to one by the bare CLI.
COLD_GOAL = 1.05
DATA_MB = 200
#: Names our images, and our steps in the builder's cache; another run beside this one has another.
MARK = f"golden-jobs-bench-{uuid.uuid4().hex[:8]}"
THEIR_VENV = ROOT / ".cache" / "bench" / "ansible"
THEIR_REQUIREMENTS = "ansible>=12,<13\ndocker>=7.1,<8\nrequests>=2.32,<3\n"

#: Ten instructions that take no time.
QUICK_STEPS = [f"echo {number} >/step{number}" for number in range(7)]
#: What builds do: compute, write a big file and many small ones, talk. About 25 s, so that Ansible's start is less than a twentieth.
SLOW_STEPS = [
    *(f"dd if=/dev/zero bs=1M count=500 2>/dev/null | sha256sum && echo {number}" for number in range(4)),
    "dd if=/dev/urandom of=/model bs=1M count=100",
    "mkdir /files && for i in $(seq 1 5000); do echo $i >/files/$i; done",
    "seq 1 3000",
    "sha256sum /data/*",
]


def make_context(folder: Path, steps: list[str], data_mb: int) -> Path:
    """A context whose data no builder has seen, and a Dockerfile with a RUN for each step. Nothing is pulled for it."""
    (folder / "data").mkdir(parents=True)
    shutil.copy(static_busybox(), folder / "busybox")
    with (folder / "data" / "set.bin").open("wb") as handle:
        for _ in range(data_mb):
            handle.write(os.urandom(1_000_000))
        handle.write(os.urandom(secrets.randbelow(10_000)))  # a size that tells this context from others in the builder's cache
    begin = [
        "FROM scratch",
        "COPY busybox /bin/busybox",
        'RUN ["/bin/busybox", "--install", "-s", "/bin"]',
        f"RUN : {MARK}",
        "COPY data /data",
    ]
    (folder / "Dockerfile").write_text("\n".join([*begin, *(f"RUN {step}" for step in steps), ""]))
    os.sync()  # or the builds would wait for the disk because of us
    return folder


def content_bytes(context: Path) -> int:
    """What the builder keeps of it: all but the Dockerfile, which travels by itself."""
    return sum(path.stat().st_size for path in context.rglob("*") if path.is_file() and path.name != "Dockerfile")


def their_venv(folder: Path) -> Path:
    """The virtual environment of the PyPI package `ansible`, made on first use. `folder`: for a file meanwhile."""
    done = THEIR_VENV / ".installed"
    if not done.exists() or done.read_text() != THEIR_REQUIREMENTS:
        requirements = folder / "requirements.txt"
        requirements.write_text(THEIR_REQUIREMENTS)
        THEIR_VENV.parent.mkdir(parents=True, exist_ok=True)
        command([str(ROOT / "tools" / "venv.sh"), str(THEIR_VENV), str(requirements)])
        done.write_text(THEIR_REQUIREMENTS)
    return THEIR_VENV


def their_ansible(folder: Path) -> Ansible:
    """The community's collections with their own Ansible, which knows nothing of ours."""
    (folder / "ansible.cfg").touch()
    return Ansible(their_venv(folder) / "bin", folder)


@contextmanager
def removed_images(engine: Any, prefix: str) -> Iterator[None]:
    """Afterwards the images whose names begin so are removed, by name and id."""
    try:
        yield
    finally:
        for image in engine.images():
            for name in image["RepoTags"] or []:
                if name.startswith(prefix):
                    engine.remove_image(name, force=True)


@contextmanager
def own_state(folder: Path) -> Iterator[None]:
    """What docker_build remembers and logs goes to a folder that is removed."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def measure_unchanged(engine: Any, folder: Path) -> dict[str, float]:
    """Medians in seconds where nothing is to be done."""
    ours, theirs = Ansible(), their_ansible(folder)
    context = make_context(folder / "context", QUICK_STEPS, data_mb=1)
    prefix = f"{MARK}-unchanged"
    with (
        pruned_build_cache(engine, MARK, [content_bytes(context)]),
        push.empty_registry(engine, folder / "registry") as registry,
        removed_images(engine, prefix),
    ):
        alone = {"name": f"{prefix}/docker_build", "version": "v1", "tags": ["v1"], "context": str(context), "ask_registry": False}
        pushed = {**alone, "name": f"{registry}/bench/unchanged", "ask_registry": True}
        community = {"tag": "v1", "source": "build", "build": {"path": str(context)}}
        exists = {**community, "name": f"{prefix}/docker_image"}
        rebuilds = {**community, "name": f"{prefix}/force_source", "force_source": True}
        cli_build = ("build", "--quiet", "--tag", f"{prefix}/cli:v1", str(context))

        docker_cli(*cli_build)
        ours.play("docker_build", alone, changes=1)
        first = run_module("docker_build", **pushed)
        for tag in (first["tag"], "v1"):
            docker_cli("push", "--quiet", f"{pushed['name']}:{tag}")
        for options in (exists, rebuilds):
            theirs.play("community.docker.docker_image", options, changes=1)
        times = take_turns(
            {
                "cli": lambda _round: seconds(lambda: docker_cli(*cli_build)),
                "start": lambda _round: ours.start(),
                "docker_build": lambda _round: ours.play("docker_build", pushed, changes=0),
                "docker_build_alone": lambda _round: ours.play("docker_build", alone, changes=0),
                "their_start": lambda _round: theirs.start(),
                "docker_image": lambda _round: theirs.play("community.docker.docker_image", exists, changes=0),
                "docker_image_force_source": lambda _round: theirs.play("community.docker.docker_image", rebuilds, changes=0),
            },
            UNCHANGED_ROUNDS,
        )
    return medians(times)


def measure_cold(engine: Any, folder: Path) -> dict[str, float]:
    """Medians in seconds of a build of which no builder has seen anything."""
    ours = Ansible()
    prefix = f"{MARK}-cold"

    def fresh(build: Any) -> float:
        context = make_context(folder / f"cold-{uuid.uuid4().hex[:8]}", SLOW_STEPS, DATA_MB)
        try:
            with pruned_build_cache(engine, MARK, [content_bytes(context)]), removed_images(engine, prefix):
                return float(build(str(context)))
        finally:
            shutil.rmtree(context)

    def cli(context: str) -> float:
        return seconds(lambda: docker_cli("build", "--no-cache", "--progress", "plain", "--tag", f"{prefix}/cli:v1", context))

    def module(context: str) -> float:
        options = {"name": f"{prefix}/docker_build", "version": "v1", "tags": ["v1"], "context": context, "no_cache": True}
        return ours.play("docker_build", {**options, "builder": "buildkit", "ask_registry": False}, changes=1)

    contenders = {"cli": lambda _round: fresh(cli), "docker_build": lambda _round: fresh(module), "start": lambda _round: ours.start()}
    return medians(take_turns(contenders, COLD_ROUNDS))


def measure(only: str | None = None) -> dict[str, Any]:
    """Medians in seconds and ratios of each part: `unchanged`, `build`, `push`."""
    engine = docker.from_env(version="auto", timeout=600).api
    result: dict[str, Any] = {}
    if only in (None, "unchanged", "build"):
        with tempfile.TemporaryDirectory(prefix="golden-jobs-bench-") as temporary, own_state(Path(temporary) / "state"):
            folder = Path(temporary)
            if only != "build":
                result["unchanged"] = _unchanged_ratios(measure_unchanged(engine, folder))
            if only != "unchanged":
                result["build"] = _cold_ratios(measure_cold(engine, folder))
    if only in (None, "push"):
        result["push"] = push.measure()
    return result


def _unchanged_ratios(took: dict[str, float]) -> dict[str, float]:
    return {
        **{f"{name}_s": value for name, value in took.items()},
        "ratio_to_docker_image": took["docker_build"] / took["docker_image"],
        "ratio_to_force_source": took["docker_build"] / took["docker_image_force_source"],
        "ratio_to_cli": took["docker_build"] / took["cli"],
        "net_s": took["docker_build"] - took["start"],
        "docker_image_net_s": took["docker_image"] - took["their_start"],
    }


def _cold_ratios(took: dict[str, float]) -> dict[str, float]:
    return {
        **{f"{name}_s": value for name, value in took.items()},
        "ratio": took["docker_build"] / took["cli"],
        "ratio_net_of_start": (took["docker_build"] - took["start"]) / took["cli"],
    }


def report(result: dict[str, Any]) -> None:
    if unchanged := result.get("unchanged"):
        row(f"unchanged, {len(QUICK_STEPS) + 5} instructions, median of {UNCHANGED_ROUNDS}", "total", "net of start", "docker_build")
        rows = (
            ("docker build, all cached", "cli", None),
            ("an empty play", "start", None),
            ("docker_build, image and tag in the registry", "docker_build", "start"),
            ("docker_build, ask_registry: false", "docker_build_alone", "start"),
            ("an empty play of Ansible 12", "their_start", None),
            ("docker_image (asks for the name only)", "docker_image", "their_start"),
            ("docker_image, force_source: true", "docker_image_force_source", "their_start"),
        )
        for text, name, start in rows:
            took_s = unchanged[f"{name}_s"]
            net = f"{took_s - unchanged[f'{start}_s']:.2f} s" if start else ""
            row(text, f"{took_s:.2f} s", net, f"{unchanged['docker_build_s'] / took_s:.2f} x")
    if build := result.get("build"):
        print()
        row(f"cold build, {DATA_MB} MB of data, {len(SLOW_STEPS) + 5} instructions, median of {COLD_ROUNDS}")
        for text, name in (("docker build --no-cache", "cli"), ("docker_build", "docker_build"), ("an empty play", "start")):
            row(text, f"{build[f'{name}_s']:.2f} s")
        goal("docker_build, cold, against docker build", build["ratio"], at_most=COLD_GOAL)
        row("  net of the empty play", f"{build['ratio_net_of_start']:.2f}")
    if pushed := result.get("push"):
        print()
        push.report(pushed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["unchanged", "build", "push"])
    options = parser.parse_args()
    clean_up_when_terminated()
    print(machine(), flush=True)
    report(measure(options.only))


if __name__ == "__main__":
    main()
