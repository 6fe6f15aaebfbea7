"""An SSH server of a test's own, on loopback: a build server whose connection can be cut."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support import AS_ROOT, free_ports, install, wait_for


@dataclass
class Sshd:
    """Logs the user who runs the tests in, with a key of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, folder: Path) -> Sshd:
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        if not os.path.exists(program):
            install("openssh-server")
        for name in ("host_key", "login_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        port = free_ports(1)
        (folder / "authorized").write_text((folder / "login_key.pub").read_text())
        host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
        (folder / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized\n"
            f"StrictModes no\nUsePAM no\nPidFile {folder}/pid\nPermitRootLogin yes\nMaxStartups 50\n"
        )
        subprocess.run([*AS_ROOT, "mkdir", "-p", "/run/sshd"], check=True)
        started = cls(folder, port, subprocess.Popen([program, "-D", "-f", str(folder / "config")], stderr=subprocess.DEVNULL))
        wait_for(started._answers)
        return started

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def inventory(self, name: str = "build-ssh") -> str:
        """Text of an inventory with one host: this machine by SSH."""
        options = f"-o UserKnownHostsFile={self.folder}/known_hosts -o IdentitiesOnly=yes"
        return (
            f"{name} ansible_host=127.0.0.1 ansible_port={self.port} ansible_user={getpass.getuser()} ansible_connection=ssh "
            f"ansible_ssh_private_key_file={self.folder}/login_key ansible_ssh_common_args='{options}' "
            f"ansible_control_path={self.folder}/control ansible_python_interpreter={sys.executable}\n"
        )

    def connections(self) -> list[int]:
        """Process ids of the server's ends of all connections."""
        if self.process is None:
            return []
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def cut(self) -> None:
        """Drop every connection without a word to either end."""
        for pid in self.connections():
            below = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            for each in (pid, *below):
                # The unprivileged half of a session is an sshd as well; what the session started is left alone.
                if "sshd" in Path(f"/proc/{each}/comm").read_text():
                    os.kill(each, signal.SIGKILL)

    def stop(self) -> None:
        self.cut()
        if self.process:
            self.process.terminate()
            self.process.wait()
