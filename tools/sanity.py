"""Runs `ansible-test sanity` on this project's modules and plugins; `make sanity` calls it.

ansible-test wants a collection, and a bootstrap script from a server of its own. So `library/`, `module_utils/` and `plugins/` are laid
out as the collection golden.jobs in a temporary folder, a stand-in takes the script's place, and what ansible-test keeps between runs (its
virtual environments) goes to `.cache/sanity/`: PyPI is the only source, a second run needs no network, and the developer's own `~/.ansible`
stays as it is. Arguments are handed to ansible-test: `python tools/sanity.py --test validate-modules -v`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from ast import literal_eval
from pathlib import Path

import ansible.release
from ansible_test._internal.constants import SUPPORTED_PYTHON_VERSIONS
from ansible_test._internal.host_configs import VirtualPythonConfig
from ansible_test._internal.python_requirements import get_venv_packages

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".cache" / "sanity"
COLLECTION = "golden.jobs"
#: Where a folder of the project lies in the collection.
LAYOUT = {
    "library": "plugins/modules",
    "module_utils": "plugins/module_utils",
    **{f"plugins/{kind}": f"plugins/{kind}" for kind in ("action", "callback", "doc_fragments", "filter")},
}
#: The Python that runs this, the one that ansible-core is installed in.
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
#: The oldest Python of a build server, on which modules run.
OLDEST_PYTHON = "3.9"

#: What is not held against a file: path in the project, test (with its rule), reason. ansible-test reports entries that are not needed.
IGNORED = [
    ("library/*.py", "validate-modules:missing-gplv3-license", "the project's licence is Apache-2.0, see LICENSE"),
    ("plugins/callback/*.py", "validate-modules:missing-gplv3-license", "the project's licence is Apache-2.0, see LICENSE"),
    ("plugins/action/in_worker.py", "action-plugin-docs", "stands behind the links golden_job_status.py and so on, which have modules"),
    ("plugins/action/live.py", "action-plugin-docs", "stands behind the links docker_build.py and so on, which have modules"),
]
#: Tests that are not run, with the reason.
SKIPPED: dict[str, str] = {}

#: In place of the get-pip that ansible-test downloads: the same version of pip, from PyPI, by way of Python's own ensurepip.
GET_PIP = """\
import os
import subprocess
import sys

environment = {name: value for name, value in os.environ.items() if name != "GET_PIP"}
packages = [argument for argument in sys.argv[1:] if "==" in argument]
subprocess.run([sys.executable, "-m", "ensurepip", "--default-pip"], check=True, stdout=subprocess.DEVNULL, env=environment)
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages], check=True, env=environment)
"""


def lay_out(target: Path) -> None:
    """Write the collection into the folder `target`."""
    for ours, theirs in LAYOUT.items():
        shutil.copytree(ROOT / ours, target / theirs, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for path in target.rglob("*.py"):
        if not path.is_symlink():
            path.write_text(qualified(path.read_text(encoding="utf-8")), encoding="utf-8")
    namespace, name = COLLECTION.split(".")
    ignored = [(path, *rest) for pattern, *rest in IGNORED for path in sorted(ROOT.glob(pattern))]
    for path, content in {
        "README.md": "Golden Jobs, laid out as a collection for ansible-test.\n",
        "galaxy.yml": f"namespace: {namespace}\nname: {name}\nversion: 0.1.0\nreadme: README.md\nauthors: [Golden Jobs]\n",
        "meta/runtime.yml": '---\nrequires_ansible: ">=2.17.7"\n',
        "tests/config.yml": f'---\nmodules:\n  python_requires: ">={OLDEST_PYTHON}"\n',
        f"tests/sanity/ignore-{'.'.join(ansible.release.__version__.split('.')[:2])}.txt": "".join(
            f"{renamed(str(path.relative_to(ROOT)), LAYOUT)} {test} # {reason}\n" for path, test, reason in ignored
        ),
    }.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(content, encoding="utf-8")


def qualified(text: str) -> str:
    """A module or plugin with the names of this project's other parts as a collection has them; lines keep their numbers."""
    modules = "|".join(path.stem for path in (ROOT / "library").glob("*.py"))
    fragments = "|".join(path.stem for path in (ROOT / "plugins/doc_fragments").glob("*.py"))
    text = text.replace("ansible.module_utils.golden_jobs", f"ansible_collections.{COLLECTION}.plugins.module_utils.golden_jobs")
    text = re.sub(rf"\bM\(({modules})\)", rf"M({COLLECTION}.\1)", text)
    return re.sub(
        r"^extends_documentation_fragment:(.*(?:\n +- .*)*)",
        lambda found: re.sub(rf"\b({fragments})\b(?!:)", rf"{COLLECTION}.\1", found[0]),
        text,
        flags=re.MULTILINE,
    )


def renamed(text: str, folders: dict[str, str]) -> str:
    """The text with each of the folders at the beginning of a path replaced."""
    return re.sub(rf"(?<![\w/.])({'|'.join(folders)})/", lambda found: f"{folders[found[1]]}/", text)


def prepare_home(versions: list[str]) -> None:
    """The home folder of ansible-test: the stand-in for get-pip, and the pip configuration that is in force here.

    ansible-test hands on neither pip's environment variables nor the user's own home with its pip.conf, so both become a file.
    """
    cache = HOME / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in versions:
        pip_version = get_venv_packages(VirtualPythonConfig(version=version))["pip"]
        (cache / f"get_pip_{pip_version.replace('.', '_')}.py").write_text(GET_PIP, encoding="utf-8")
    pip = {"global": {"quiet": "1", "proxy": os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or ""}}
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):  # the environment has the last word
        name, value = line.split("=", 1)
        section, option = name.rsplit(".", 1)
        pip.setdefault(section.replace(":env:", "global"), {})[option] = literal_eval(value).replace("\n", " ")
    lines = [
        line
        for section, options in pip.items()
        for line in (f"[{section}]", *(f"{option} = {value}" for option, value in options.items() if value))
    ]
    config = HOME / ".config/pip/pip.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.touch(mode=0o600)  # addresses may hold a password
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")


def pythons() -> list[str]:
    """The versions to test with: the oldest on the PATH that modules may meet, and the one that runs this."""
    known = SUPPORTED_PYTHON_VERSIONS[SUPPORTED_PYTHON_VERSIONS.index(OLDEST_PYTHON) :]
    oldest = next((version for version in known if version == PYTHON or _usable(version)), PYTHON)
    return list(dict.fromkeys([oldest, PYTHON]))


def _usable(version: str) -> bool:
    """Whether this Python is there, runs (it may be a shim of a version manager) and can make virtual environments."""
    try:
        done = subprocess.run([f"python{version}", "-c", "import ensurepip, venv"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="golden-jobs-sanity-") as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)  # runs share the virtual environments
        versions = pythons()
        prepare_home(versions)
        target = Path(folder, "ansible_collections", *COLLECTION.split("."))
        lay_out(target)
        if versions[0] != OLDEST_PYTHON:
            print(f"Not run: imports on Python {OLDEST_PYTHON}, because it is not on the PATH; the oldest is {versions[0]}.")
        for test, reason in SKIPPED.items():
            print(f"Not run: {test}, because {reason}.")
        command = [
            "ansible-test",
            "sanity",
            f"--controller=origin:python={PYTHON}",
            *(f"--target-python={version}" for version in versions),
            *(f"--skip-test={test}" for test in SKIPPED),
            *arguments,
        ]
        environment = {**os.environ, "HOME": str(HOME)}
        with subprocess.Popen(command, cwd=target, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            for line in running.stdout or ():
                print(renamed(line, {theirs: ours for ours, theirs in LAYOUT.items()}), end="", flush=True)
        return running.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
