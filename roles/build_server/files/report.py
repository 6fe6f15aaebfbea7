"""Prints what a build server has, as JSON: versions of engine, CLI, buildx, git and the Docker SDK, free disk, state of the clock."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys


def output(*argv: str) -> str:
    """Standard output of a command; empty where it is missing or fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def sdk() -> str:
    """Version of the Docker SDK for this Python."""
    return output(sys.executable, "-c", "import docker; print(docker.__version__)")


def free_gb(path: str) -> float:
    """Free disk where the path is, or where it would be made."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return round(shutil.disk_usage(path).free / 1e9, 1)


def main() -> None:
    data_root, work_dir = sys.argv[1:3]
    clock = output("timedatectl", "show", "--property=NTPSynchronized", "--value")
    print(
        json.dumps(
            {
                "engine": output("docker", "version", "--format", "{{.Server.Version}}"),
                "cli": output("docker", "version", "--format", "{{.Client.Version}}"),
                "storage": output("docker", "info", "--format", "{{.Driver}}"),
                "buildx": output("docker", "buildx", "version").partition(" ")[2].partition(" ")[0],
                "git": output("git", "--version").rpartition(" ")[2],
                "sdk": sdk(),
                "python": ".".join(str(part) for part in sys.version_info[:3]),
                "data_root": data_root,
                "free_gb": min(free_gb(data_root), free_gb(work_dir)),
                "clock": {"yes": "in sync", "no": "not in sync"}.get(clock, "not known"),
            }
        )
    )


if __name__ == "__main__":
    main()
