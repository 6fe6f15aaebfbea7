"""A Docker engine of a test's own, in a network namespace of its own: to be killed, or to run out of space.

Two engines in one network namespace would fight over the bridge; this one has a namespace without any network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors

from tests.support import AS_ROOT, wait_for


def as_root(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*AS_ROOT, *argv], check=True, capture_output=True, text=True)


@dataclass
class PrivateEngine:
    """`disk_mb`: its data lies on a loop-mounted file system of that size."""

    folder: Path
    disk_mb: int | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        self.data.mkdir(exist_ok=True)
        if self.disk_mb and not os.path.ismount(self.data):
            image = self.folder / "disk"
            with image.open("wb") as handle:
                handle.truncate(self.disk_mb << 20)
            as_root("mkfs.ext4", "-q", str(image))
            as_root("mount", "-o", "loop", str(image), str(self.data))
        options = [f"--data-root={self.data}", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid", f"--group={os.getgid()}"]
        argv = [*AS_ROOT, "unshare", "--net", "dockerd", "--host", self.address, *options]
        with (self.folder / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        wait_for(self.answers, 60)

    def answers(self) -> bool:
        try:
            return bool(docker.DockerClient(base_url=self.address, timeout=5).ping())
        except (docker.errors.DockerException, OSError):
            return False

    def kill(self) -> None:
        """As a power cut would: no time to say goodbye, and no process ids remembered after it."""
        pids = [self.folder / "pid", self.folder / "exec" / "containerd" / "containerd.pid"]
        for path in pids:
            subprocess.run([*AS_ROOT, "kill", "-KILL", path.read_text().strip()], check=False, capture_output=True)
        if self.process:
            self.process.wait()
        as_root("rm", "-f", *map(str, pids))

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            as_root("kill", "-TERM", (self.folder / "pid").read_text().strip())
            self.process.wait(60)
        for containerd in (self.folder / "exec" / "containerd").glob("containerd.pid"):
            # A killed engine leaves it behind.
            subprocess.run([*AS_ROOT, "kill", "-TERM", containerd.read_text().strip()], check=False, capture_output=True)
        mounts = [
            line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if line.split()[1].startswith(str(self.folder))
        ]
        for mount in sorted(mounts, reverse=True):
            subprocess.run([*AS_ROOT, "umount", "-l", mount], check=False)
        as_root("rm", "-rf", str(self.folder))


def small_root(folder: Path, busybox: str) -> None:
    """Files of an image with a shell, for `FROM scratch` and `COPY root /`: a private engine can pull nothing."""
    (folder / "root" / "bin").mkdir(parents=True)
    shutil.copy(busybox, folder / "root" / "bin" / "busybox")
    for name in ("sh", "sleep", "dd", "echo", "test", "cat"):
        (folder / "root" / "bin" / name).symlink_to("busybox")
