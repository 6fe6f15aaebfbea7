"""OOB3's image against the seed's way of building it, on this machine, and how long a new logo takes to the registry.

The seed's way: classic builder, `pip install -r` in a RUN, apt as it comes, a layer per logo; its base image is made that way, too, of
the same Debian and the same requirements, which counts for its size but not for its time. Ours: the project's templates. Cold means that
no layer above the base and none of the build server's cache mounts is there: ours get new ones for this run, so that nobody's cache has
to be emptied.
Needs the local platform (`make up`) with OOB3 in its registry.
"""

from __future__ import annotations

import json
import re
import secrets as tokens
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.build_cache import pruned_build_cache
from tests.bench.measure import ROOT, clean_up_when_terminated, command, goal, machine, row, seconds
from tests.support import ansible_environment, run_module

BUILD = ("ansible-playbook", "playbooks/build.yml", "-e", "course=OOB3")
Secrets = list[dict[str, Any]]


def main() -> None:
    clean_up_when_terminated()
    engine = docker.from_env(version="auto").api
    print(machine())
    context, secrets = rendered()
    mark = f"bench-{tokens.token_hex(4)}"
    times: dict[str, dict[str, float]] = {"base": {}, "cold": {}, "changed": {}}
    images: dict[str, int] = {}
    bases = {"ours": engine.inspect_image(base_of(context))["Size"]}
    with tempfile.TemporaryDirectory() as folder, pruned_build_cache(engine, mark, ()):
        base = seed_base(context.parent.parent / "base" / "context", Path(folder, "base"), secrets, mark)
        with built(engine, "seed", base, secrets, times["base"]) as seed:
            bases["seed"] = engine.inspect_image(seed)["Size"]
            contexts = {
                "seed": seed_context(context, Path(folder, "seed"), seed, mark),
                "ours": our_context(context, Path(folder, "ours"), mark),
            }
            for which, place in contexts.items():
                with built(engine, which, place, secrets, times["cold"]) as first:
                    images[which] = engine.inspect_image(first)["Size"]
                    with (place / "requirements.aiedu.txt").open("a", encoding="utf-8") as file:
                        file.write("tabulate>=0.9,<1\n")
                    with built(engine, which, place, secrets, times["changed"]):
                        pass
    logo_s = new_logo()
    added = {which: images[which] - bases[which] for which in images}
    row("", "seed", "ours")
    for text, values in (("cold build", times["cold"]), ("build after one changed requirement", times["changed"])):
        row(text, *(f"{values[which]:.1f} s" for which in images))
    for text, sizes in (("base image", bases), ("the course beyond it", added), ("image", images)):
        row(text, *(f"{sizes[which] / 1e6:.0f} MB" for which in images))
    goal("cold build / seed's", times["cold"]["ours"] / times["cold"]["seed"], at_most=0.35)
    goal("one changed requirement / seed's", times["changed"]["ours"] / times["changed"]["seed"], at_most=0.15)
    goal("image / seed's", images["ours"] / images["seed"], at_most=0.6)
    goal("image / seed's on our base image", images["ours"] / (bases["ours"] + added["seed"]), at_most=0.6)
    goal("the course beyond the base / seed's", added["ours"] / added["seed"], at_most=0.6)
    goal("a new logo, from edit to pushed", logo_s, "s", at_most=15)


def run(*argv: str) -> str:
    return command(argv, env=ansible_environment())


def rendered() -> tuple[Path, Secrets]:
    """The context of OOB3, and the build server's secrets (site mirrors, proxy, CA)."""
    output = run(*BUILD, "--tags", "render")
    context = next(line.split()[1] for line in output.splitlines() if "is what docker build gets" in line)
    shown = run("ansible", "build_servers", "-m", "debug", "-a", "var=build_server_secrets")
    found: Secrets = yaml.safe_load(shown[shown.index("=>") + 2 :])["build_server_secrets"]
    return Path(context), [{key: value for key, value in secret.items() if "omit" not in str(value)} for secret in found]


def our_context(context: Path, target: Path, mark: str) -> Path:
    """The rendered context, with cache mounts of this run's own and steps that no cache knows."""
    shutil.copytree(context, target, symlinks=True)
    dockerfile = target / "Dockerfile"
    text = re.sub(r"--mount=type=cache,target=(/[^ ,]+)", rf"--mount=type=cache,id={mark}\1,target=\1", dockerfile.read_text())
    dockerfile.write_text(re.sub(r"^(RUN .*?: '[^']*';)", rf"\1 : {mark};", text, flags=re.MULTILINE))
    assert dockerfile.read_text().count(mark) > text.count(mark) >= 3
    return target


def base_of(context: Path) -> str:
    return next(line.split()[1] for line in (context / "Dockerfile").read_text().splitlines() if line.startswith("FROM "))


def seed_base(context: Path, target: Path, secrets: Secrets, mark: str) -> Path:
    """A base image as one makes it by hand. The site's settings, which the seed's users have in the engine's network, are copied."""
    shutil.copytree(context, target, symlinks=True)
    names = {"site_env": "site.env", "site_ca": "site.ca", "site_apt": "site.apt"}
    for secret in secrets:
        content = Path(secret["file"]).read_text() if secret.get("file") else secret.get("content") or ""
        (target / names[secret["id"]]).write_text(content)
    copies = "".join(f"COPY {file} /run/secrets/{name}\n" for name, file in names.items())
    (target / "Dockerfile").write_text(
        f"""FROM {base_of(context)}
RUN : {mark}
{copies}RUN . /run/secrets/site_env && apt-get update
RUN . /run/secrets/site_env && apt-get install ca-certificates git python3 python3-venv tini -y
RUN python3 -m venv /opt/venv
ENV SHELL=/bin/bash PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ADD requirements.txt /
RUN . /run/secrets/site_env && pip install -r requirements.txt
"""
    )
    return target


def seed_context(context: Path, target: Path, base: str, mark: str) -> Path:
    """The seed's Dockerfile with today's paths."""
    shutil.copytree(context, target, symlinks=True)
    static = "/opt/venv/lib/python3*/site-packages/jupyter_server/static"
    (target / "Dockerfile").write_text(
        f"""FROM {base}
RUN : {mark}
ADD requirements.aiedu.txt /
RUN . /run/secrets/site_env && apt-get update
RUN . /run/secrets/site_env && apt-get install nfs-common -y
RUN . /run/secrets/site_env && pip install -r requirements.aiedu.txt
COPY courseware /root/courses
RUN rm -f {static}/logo/logo.png {static}/favicon.ico
COPY branding/logo.png branding/favicon.ico /tmp/
RUN cp /tmp/logo.png $(echo {static}/logo)
RUN cp /tmp/favicon.ico $(echo {static})
"""
    )
    return target


@contextmanager
def built(engine: Any, which: str, context: Path, secrets: Secrets, times: dict[str, float]) -> Iterator[str]:
    """The image's reference; afterwards the image is gone. The seconds that its build took go to `times`."""
    options: dict[str, Any] = {"builder": "buildkit", "secrets": secrets} if which == "ours" else {"builder": "classic"}
    name = f"bench.local:5000/{context.name}"
    results: list[dict[str, Any]] = []
    times[which] = seconds(
        lambda: results.append(
            run_module("docker_build", name=name, version="v1", context=str(context), ask_registry=False, pull=False, **options)
        )
    )
    if results[0]["failed"]:
        sys.exit(results[0]["msg"])
    try:
        yield results[0]["reference"]
    finally:
        engine.remove_image(results[0]["reference"], force=True)


def new_logo() -> float:
    """Seconds of `build.yml` after the course's logo has changed: context, build, tests, push. Then the old one is made current again."""
    run(*BUILD)
    logo = ROOT / ".cache" / "bench" / "logo.png"
    logo.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(ROOT / "branding" / "logo.png") as image:
        changed = image.convert("RGBA")
    changed.putpixel((0, 0), (*tokens.token_bytes(3), 255))  # never the same one: it would be in the registry
    changed.save(logo)
    branding = json.dumps({"course_branding": {"logo": str(logo.relative_to(ROOT))}})
    try:
        outputs: list[str] = []
        took = seconds(lambda: outputs.append(run(*BUILD, "-e", branding)))
        assert "pushed" in outputs[0], outputs[0]
        return took
    finally:
        logo.unlink()
        run(*BUILD)


if __name__ == "__main__":
    main()
