"""Fresh VMs for tests: containers that boot Debian with systemd (or without) and are reached over SSH; a nested engine runs in them.

From a shell, as molecule uses it: `python -m tests.vm start FOLDER NAME SUITE systemd|none` prints JSON, `python -m tests.vm remove NAME`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors

from tests.support import AS_ROOT, ROOT, install, wait_for

HERE = Path(__file__).resolve().parent
LABEL = "golden-jobs.test-vm"
SSH_OPTIONS = ["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]
#: Without systemd as PID 1: a shell that collects what ends and keeps sshd.
NO_SYSTEMD = [
    "sh",
    "-c",
    'while read -r _ dir type _; do case $type in cgroup|cgroup2) mount -o remount,bind,rw "$dir" ;; esac; done < /proc/mounts; '
    "mkdir -p /run/sshd && ssh-keygen -A && /usr/sbin/sshd && while sleep 1; do :; done",
]


@dataclass(frozen=True)
class Vm:
    """A running VM: how to reach it."""

    name: str
    container: str
    address: str
    port: int
    key: str

    def ssh(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command there as root; the arguments go to its shell."""
        return subprocess.run(self.ssh_argv(*argv), capture_output=True, text=True, check=False)

    def ssh_argv(self, *argv: str) -> list[str]:
        """The command that does it."""
        return ["ssh", *SSH_OPTIONS, "-i", self.key, "-p", str(self.port), f"root@{self.address}", *argv]

    def inventory(self) -> dict[str, Any]:
        """Host variables with which Ansible reaches it."""
        return {
            "ansible_host": self.address,
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": self.key,
            "ansible_ssh_common_args": " ".join(SSH_OPTIONS),
        }


def start(folder: Path, name: str, suite: str = "bookworm", init: str = "systemd") -> Vm:
    """A VM that answers over SSH. `folder` holds the key of all VMs of a test."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "id_vm"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    engine = docker.from_env(version="auto", timeout=600).api
    argv = [
        *["docker", "run", "--detach", f"--name={name}", f"--hostname={name}", f"--label={LABEL}", "--cgroupns=private", "--cap-add=ALL"],
        *["--cap-drop=SYS_RESOURCE", "--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined"],
        *["--device-cgroup-rule=a *:* rwm", "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec", image(engine, suite)],
        *(NO_SYSTEMD if init == "none" else []),
    ]
    container = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    address = engine.inspect_container(container)["NetworkSettings"]["IPAddress"]
    vm = Vm(name, container, address, 22, str(key))
    public = key.with_suffix(".pub").read_text()
    put = f"mkdir -p -m 700 /root/.ssh && cat > /root/.ssh/authorized_keys <<'EOF'\n{public}EOF"
    subprocess.run(["docker", "exec", container, "sh", "-c", put], check=True)
    wait_for(lambda: vm.ssh("true").returncode == 0, 60)
    if init == "systemd":
        wait_for(lambda: vm.ssh("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"), 60)
    return vm


def remove(name: str) -> bool:
    """Remove a VM with its volumes; whether there was one."""
    engine = docker.from_env(version="auto").api
    try:
        engine.remove_container(name, force=True, v=True)
    except docker.errors.NotFound:
        return False
    return True


def image(engine: Any, suite: str) -> str:
    """The image of a fresh VM; made at its first use, from the Debian mirror that this machine uses."""
    rootfs = _rootfs(engine, suite)
    content = b"".join((HERE / name).read_bytes() for name in ("Dockerfile", "vm-init")) + engine.inspect_image(rootfs)["Id"].encode()
    reference = f"golden-jobs-test/vm:{suite}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not _has(engine, reference):
        argv = ["docker", "build", "--quiet", "--tag", reference, "--build-arg", f"ROOTFS={rootfs}", "--label", LABEL, str(HERE)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    return reference


def _rootfs(engine: Any, suite: str) -> str:
    reference = f"golden-jobs-test/rootfs:{suite}"
    if _has(engine, reference):
        return reference
    if not shutil.which("debootstrap"):
        install("debootstrap")
    site = json.loads(
        subprocess.run([sys.executable, str(ROOT / "roles/build_server/files/host_site.py")], capture_output=True, check=True).stdout
    )
    own = site["debian_suite"]
    # The same mirror has the other releases; their security updates are in a suite of the same form.
    sources = [re.sub(rf"\b{own}\b", suite, line) for line in site["debian_sources"]]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        made = subprocess.run(
            [*AS_ROOT, "debootstrap", "--variant=minbase", suite, str(root), site["debian_mirror"]],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout[-2000:]
        (root / "etc/apt/sources.list").write_text("\n".join(sources) + "\n")
        if site.get("apt_conf"):
            (root / "etc/apt/apt.conf.d/80site").write_text(site["apt_conf"])
        pack = f"tar -C {root} --numeric-owner --exclude=./var/cache/apt/archives/*.deb --exclude=./var/lib/apt/lists/* -c . | docker import - {reference}"
        subprocess.run(["bash", "-o", "pipefail", "-c", pack], check=True, stdout=subprocess.DEVNULL)
    return reference


def _has(engine: Any, reference: str) -> bool:
    try:
        engine.inspect_image(reference)
    except docker.errors.ImageNotFound:
        return False
    return True


def main() -> None:
    if sys.argv[1] == "start":
        print(json.dumps(asdict(start(Path(sys.argv[2]), *sys.argv[3:]))))
    else:
        print(json.dumps({"removed": remove(sys.argv[2])}))
