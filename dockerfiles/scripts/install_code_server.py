"""Install code-server and a node of its own from an npm registry: python3 install_code_server.py 4.139.1 /code-server

The registry is npm_config_registry of the environment, as npm itself reads it. The folder named last gets the tree to
copy to /: node in /opt/node, which is not on PATH, code-server in /opt/code-server, a link in /usr/local/bin. Needs a C++
compiler and make, as some native modules are compiled here; Python's standard library alone, 3.7 or later.
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
from urllib.parse import urlsplit

REGISTRY = os.environ.get("npm_config_registry", "").rstrip("/") + "/"  # noqa: SIM112 - npm's own name
NODE = Path("/opt/node")
TARGET = Path("/opt/code-server")
NODE_MAJOR = 24  # code-server accepts no other
NPM_MAJOR = 11  # 12 does not run the install scripts of packages
#: Logs in to proxies that want Kerberos, and would need its libraries in each image. VS Code loads it when one is met.
NOT_COMPILED = {"kerberos"}
#: Not needed once everything is compiled, and what Windows needs.
LEFTOVERS = ("*.map", "*.o", "*.a", "*.exe", "*.dll", "obj", "obj.target", ".deps", "node-addon-api", "sqlite3/deps", "spdlog/deps")
#: Folders with the binaries of one platform, of which some packages bring many.
PLATFORM = re.compile(r"(?:linux|win32|darwin|freebsd)-(?:arm|arm64|ia32|x64|ppc64|riscv64|s390x)|arm64|x64")


def main() -> None:
    version, place = sys.argv[1:]
    if not REGISTRY.startswith(("http://", "https://")):
        sys.exit(
            "code-server: no npm registry is known: set npm_registry in build_server_site of the build server, to a mirror for example"
        )
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine())
    if machine is None:
        sys.exit(f"code-server: no node package for {platform.machine()}: x86_64 and aarch64 have one")
    unpack(f"node-linux-{machine}", NODE_MAJOR, NODE)
    with tempfile.TemporaryDirectory() as folder:
        native = install(version, Path(folder))
    entry = (TARGET / "bin" / "code-server").resolve()
    entry.write_text(re.sub(r"\A#!.*", f"#!{NODE}/bin/node", entry.read_text()))
    entry.chmod(0o755)
    tidy(machine)
    # Each of them works in the tree as it will be; VS Code itself would go on without, and only a part of it would fail.
    load = "for (const name of process.argv.slice(1)) require(name)"
    subprocess.run([f"{NODE}/bin/node", "-e", load, *native], cwd=vscode_folder(), check=True)
    for made in (NODE, TARGET):
        target = Path(place + str(made))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(str(made), str(target))
    link = Path(place, "usr", "local", "bin", "code-server")
    link.parent.mkdir(parents=True)
    link.symlink_to(TARGET / "bin" / "code-server")


def vscode_folder() -> Path:
    return TARGET / "lib" / "node_modules" / "code-server" / "lib" / "vscode"


def install(version: str, folder: Path) -> list[str]:
    """code-server by npm; then, as its own postinstall does, VS Code's packages. The names of those with native modules."""
    unpack("npm", NPM_MAJOR, folder / "npm")
    (folder / "bin").mkdir()
    npm = folder / "bin" / "npm"
    npm.write_text(f'#!/bin/sh\nexec {NODE}/bin/node {folder}/npm/bin/npm-cli.js "$@"\n')
    npm.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{npm.parent}:{NODE}/bin:{os.environ['PATH']}",
        "npm_config_nodedir": str(NODE),  # node's headers, which npm would fetch from elsewhere
        "JOBS": "max",  # node-gyp: one compiler per core
        # sqlite for the history of chats, and logging: optimised, they would take three times as long to compile.
        "CFLAGS": "-O1",
        "CXXFLAGS": "-O1",
        "npm_config_loglevel": "error",
        "npm_config_update_notifier": "false",
        "npm_config_fund": "false",
        "npm_config_audit": "false",
    }

    def run(*arguments: str, cwd: Path | None = None) -> None:
        subprocess.run(["npm", *arguments], env=environment, cwd=cwd, check=True)

    run("install", "--global", "--prefix", str(TARGET), "--ignore-scripts", f"code-server@{version}")
    vscode = vscode_folder()
    run("install", "--omit=dev", "--ignore-scripts", cwd=vscode)
    run("install", "--omit=dev", cwd=vscode / "extensions")
    scripts = json.loads((vscode / "package.json").read_text()).get("allowScripts", {})
    names = [name.rpartition("@")[0] for name, allowed in scripts.items() if allowed]
    native = [name for name in names if (vscode / "node_modules" / name).is_dir() and name not in NOT_COMPILED]
    if not native:
        sys.exit(f"code-server: {version} does not say which of its packages have to be compiled: take one of 4.139 or later")
    print(f"compiling what has to be of {', '.join(native)}", flush=True)
    run("rebuild", *native, cwd=vscode)
    return native


def unpack(package: str, major: int, target: Path) -> None:
    """The newest version of a package with this major number, with its checksum proven."""
    with urllib.request.urlopen(f"{REGISTRY}{package}", timeout=60) as answer:  # noqa: S310 - the site's own registry
        versions = json.load(answer)["versions"]
    fitting = [name for name in versions if re.fullmatch(rf"{major}\.\d+\.\d+", name)]
    if not fitting:
        sys.exit(f"code-server: the npm registry has no {package} of version {major}")
    chosen = versions[max(fitting, key=lambda name: tuple(map(int, name.split("."))))]["dist"]
    # A mirror's answers may name the registry that they were copied from.
    url = chosen["tarball"]
    if urlsplit(url).netloc != urlsplit(REGISTRY).netloc:
        url = REGISTRY + urlsplit(url).path.lstrip("/")
    with urllib.request.urlopen(url, timeout=300) as answer:  # noqa: S310
        content = answer.read()
    kind, _, wanted = chosen["integrity"].partition("-")
    if base64.b64encode(hashlib.new(kind, content).digest()).decode() != wanted:
        sys.exit(f"code-server: {url} is not what the npm registry promises")
    with tempfile.TemporaryDirectory(dir=str(target.parent)) as folder:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(folder)  # noqa: S202 - its checksum is the registry's
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(os.path.join(folder, "package"), str(target))


def tidy(machine: str) -> None:
    for name in ("include", "share"):
        shutil.rmtree(NODE / name, ignore_errors=True)
    others = [path for path in TARGET.rglob("*") if PLATFORM.fullmatch(path.name) and path.name not in (f"linux-{machine}", machine)]
    for path in others + [path for pattern in LEFTOVERS for path in TARGET.rglob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.exists():
            path.unlink()


if __name__ == "__main__":
    main()
