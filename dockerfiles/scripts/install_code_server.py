"""Install code-server and a node of its own from an npm registry: python3 install_code_server.py 4.139.1

The registry is npm_config_registry of the environment, as npm itself reads it. node goes to /opt/node, which is not on
PATH, code-server to /opt/code-server, with a link in /usr/local/bin. Needs a C++ compiler, make and python3, as its
native modules are compiled here; Python's standard library alone, 3.7 or later.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

REGISTRY = os.environ.get("npm_config_registry", "").rstrip("/") + "/"
NODE = Path("/opt/node")
TARGET = Path("/opt/code-server")
NODE_MAJOR = 24  # code-server's own postinstall accepts no other
NPM_MAJOR = 11  # 12 does not run the install scripts of packages
#: Not needed once everything is compiled.
LEFTOVERS = ("*.map", "*.o", "*.a", "obj.target", ".deps", "node-addon-api")


def main() -> None:
    version = sys.argv[1]
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine())
    if machine is None:
        sys.exit(f"code-server: no node package for {platform.machine()}: x86_64 and aarch64 have one")
    unpack(f"node-linux-{machine}", NODE_MAJOR, NODE)
    with tempfile.TemporaryDirectory() as folder:
        npm = Path(folder, "npm")
        unpack("npm", NPM_MAJOR, npm)
        shim = Path(folder, "bin", "npm")
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {NODE}/bin/node {npm}/bin/npm-cli.js "$@"\n')
        shim.chmod(0o755)
        environment = {
            **os.environ,
            "PATH": f"{shim.parent}:{NODE}/bin:{os.environ['PATH']}",
            "npm_config_nodedir": str(NODE),  # node's headers; else they are fetched from elsewhere
            "JOBS": "max",  # node-gyp: one compiler per core
            "npm_config_update_notifier": "false",
            "npm_config_fund": "false",
            "npm_config_audit": "false",
        }
        subprocess.run(["npm", "install", "--global", "--prefix", str(TARGET), f"code-server@{version}"], env=environment, check=True)
    entry = (TARGET / "bin" / "code-server").resolve()
    entry.write_text(re.sub(r"\A#!.*", f"#!{NODE}/bin/node", entry.read_text()))
    entry.chmod(0o755)
    link = Path("/usr/local/bin/code-server")
    if link.is_symlink() or link.exists():
        link.unlink()
    link.symlink_to(TARGET / "bin" / "code-server")
    tidy()


def unpack(package: str, major: int, target: Path) -> None:
    """The newest version of a package with this major number, with its checksum proven."""
    with urllib.request.urlopen(f"{REGISTRY}{package}", timeout=60) as answer:
        versions = json.load(answer)["versions"]
    fitting = [name for name in versions if re.fullmatch(rf"{major}\.\d+\.\d+", name)]
    if not fitting:
        sys.exit(f"code-server: the npm registry has no {package} of version {major}")
    chosen = versions[max(fitting, key=lambda name: tuple(map(int, name.split("."))))]["dist"]
    # As npm does it: a mirror's answers may name the registry that they were copied from.
    url = re.sub(r"^https?://[^/]+/", REGISTRY, chosen["tarball"])
    with urllib.request.urlopen(url, timeout=300) as answer:
        content = answer.read()
    kind, _, wanted = chosen["integrity"].partition("-")
    if base64.b64encode(hashlib.new(kind, content).digest()).decode() != wanted:
        sys.exit(f"code-server: {url} is not what the npm registry promises")
    with tempfile.TemporaryDirectory(dir=str(target.parent)) as folder:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(folder)  # noqa: S202 - its checksum is the registry's
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(os.path.join(folder, "package"), str(target))


def tidy() -> None:
    for folder in ("include", "share"):
        shutil.rmtree(NODE / folder, ignore_errors=True)
    for pattern in LEFTOVERS:
        for path in list(TARGET.rglob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.exists():
                path.unlink()


if __name__ == "__main__":
    main()
