"""OOB3's image against the seed's way of building it, on this machine: cold, after one changed requirement, and in size.

The seed's way: classic builder, `pip install -r` in a RUN, the repository cloned in a RUN, a layer per logo. Ours: the course's template.
Both start from the same base image and have the same requirements, courseware and logos. Needs the local platform (`make up`).
Build caches are emptied for the cold figures: BuildKit's only with --prune-buildkit, as that is everybody's on this engine; without it
`no_cache` runs every step again, and the wheels come from the cache mounts of a permanent build server.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import docker
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support import ROOT, ansible_environment, run_module

GOALS = {"cold build": 0.35, "one changed requirement": 0.15, "size of what the course adds": 0.6}
NAMES = {"ours": "bench.local:5000/oob3/ours", "seed": "bench.local:5000/oob3/seed"}


def command(*argv: str) -> str:
    done = subprocess.run(argv, cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout[-2000:]}{done.stderr[-1000:]}")
    return done.stdout


def variables() -> tuple[Path, list[dict[str, Any]]]:
    """The rendered context of OOB3, and the build server's secrets (site mirrors, proxy, CA)."""
    output = command("ansible-playbook", "playbooks/build.yml", "--tags", "render", "-e", "course=OOB3")
    context = next(line.split()[1] for line in output.splitlines() if "is what docker build gets" in line)
    secrets = command("ansible", "build_servers", "-m", "debug", "-a", "var=build_server_secrets")
    found: list[dict[str, Any]] = yaml.safe_load(secrets[secrets.index("=>") + 2 :])["build_server_secrets"]
    return Path(context), [{key: value for key, value in secret.items() if "omit" not in str(value)} for secret in found]


def seed_dockerfile(base: str) -> str:
    """The seed's Dockerfile with today's paths; the site's settings as the seed's users give them: in the engine's network."""
    logo = "/opt/venv/lib/python3*/site-packages/jupyter_server/static"
    return f"""FROM {base}
ADD requirements.aiedu.txt /
RUN . /run/secrets/site_env && apt-get update
RUN . /run/secrets/site_env && apt-get install nfs-common -y
RUN . /run/secrets/site_env && python3 -m ensurepip && python3 -m pip install -r requirements.aiedu.txt
COPY courseware /root/courses
RUN rm -f {logo}/logo/logo.png {logo}/favicon.ico
COPY branding/logo.png branding/favicon.ico /tmp/
RUN cp /tmp/logo.png $(echo {logo}/logo)
RUN cp /tmp/favicon.ico $(echo {logo})
"""


def seed_context(ours: Path, target: Path, secrets: list[dict[str, Any]]) -> None:
    shutil.copytree(ours, target, symlinks=True)
    base = next(line.split()[1] for line in (ours / "Dockerfile").read_text().splitlines() if line.startswith("FROM "))
    names = {"site_env": "site.env", "site_ca": "site.ca", "site_apt": "site.apt"}
    for secret in secrets:
        content = Path(secret["file"]).read_text() if secret.get("file") else secret.get("content") or ""
        (target / names[secret["id"]]).write_text(content)
    copies = "".join(f"COPY {file} /run/secrets/{name}\n" for name, file in names.items())
    (target / "Dockerfile").write_text(seed_dockerfile(base).replace("RUN . /run", copies + "RUN . /run", 1))


def build(which: str, context: Path, secrets: list[dict[str, Any]], no_cache: bool) -> tuple[float, str]:
    options: dict[str, Any] = {"builder": "buildkit", "secrets": secrets} if which == "ours" else {"builder": "classic"}
    started = time.monotonic()
    result = run_module(
        "docker_build", name=NAMES[which], version="v1", context=str(context), ask_registry=False, pull=False, no_cache=no_cache, **options
    )
    if result["failed"]:
        sys.exit(result["msg"])
    return time.monotonic() - started, result["reference"]


def main() -> None:
    engine = docker.from_env(version="auto").api
    rendered, secrets = variables()
    rows: dict[str, dict[str, float]] = {goal: {} for goal in GOALS}
    if "--prune-buildkit" in sys.argv:
        engine.prune_builds()
    with tempfile.TemporaryDirectory() as folder:
        contexts = {"ours": Path(folder, "ours"), "seed": Path(folder, "seed")}
        shutil.copytree(rendered, contexts["ours"], symlinks=True)
        seed_context(rendered, contexts["seed"], secrets)
        base = next(line.split()[1] for line in (rendered / "Dockerfile").read_text().splitlines() if line.startswith("FROM "))
        base_size = engine.inspect_image(base)["Size"]
        references = []
        try:
            for which, context in contexts.items():
                rows["cold build"][which], reference = build(which, context, secrets, no_cache=True)
                references.append(reference)
                rows["size of what the course adds"][which] = (engine.inspect_image(reference)["Size"] - base_size) / 1e6
                with open(context / "requirements.aiedu.txt", "a", encoding="utf-8") as file:
                    file.write("tabulate>=0.9,<1\n")
                rows["one changed requirement"][which], reference = build(which, context, secrets, no_cache=False)
                references.append(reference)
        finally:
            for reference in references:
                engine.remove_image(reference, force=True)
    print(f"{'':32}{'seed':>10}{'ours':>10}{'ratio':>8}   goal")
    for name, row in rows.items():
        ratio = row["ours"] / row["seed"]
        unit = "MB" if "size" in name else "s"
        missed = "" if ratio <= GOALS[name] else "  MISSED"
        print(f"{name:32}{row['seed']:8.1f} {unit}{row['ours']:8.1f} {unit}{ratio:8.2f}   at most {GOALS[name]}{missed}")


if __name__ == "__main__":
    main()
