"""Filters of the role build_server: what stands in the inventory, as files of the machine."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
from ansible.errors import AnsibleFilterError
from ansible.utils.unsafe_proxy import wrap_var

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import build_farm
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.golden_job import table


def _text(path, option):
    try:
        return Path(str(path)).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise AnsibleFilterError(f"{option} names {path}, which cannot be read on this control node: {reason}.") from error


def _certificate(path, option):
    text = _text(path, option)
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise AnsibleFilterError(f"{option} names {path}, which is no PEM certificate: it has no line -----BEGIN CERTIFICATE-----.")
    return text


def build_server_file(path, prefix):
    """A CA of `build_server_ca_files` as a file whose name begins with `prefix`; update-ca-certificates wants the end `.crt`."""
    return wrap_var({"path": f"{prefix}{Path(str(path)).stem}.crt", "content": _certificate(path, "build_server_ca_files")})


def build_server_registry_ca(item):
    """An item of `build_server_registry_cas`, `{key: host:port, value: file}`, as the file that the engine reads."""
    option = f"build_server_registry_cas[{item['key']}]"
    return wrap_var({"path": f"/etc/docker/certs.d/{item['key']}/golden-jobs.crt", "content": _certificate(item["value"], option)})


def build_server_repository_files(repository, facts):
    """The docker-ce repository `{url, key, suite, components}` as files of apt (deb822) or dnf."""
    key = _text(repository["key"], "build_server_repository.key")
    if "-----BEGIN PGP PUBLIC KEY BLOCK-----" not in key:
        raise AnsibleFilterError(f"build_server_repository.key names {repository['key']}, which is no armoured PGP key.")
    url = str(repository["url"]).rstrip("/")
    if facts["os_family"] == "Debian":
        suite = repository.get("suite") or facts["distribution_release"]
        components = " ".join(repository.get("components") or ["stable"])
        signer = "/etc/apt/keyrings/golden-jobs-docker.asc"
        source = f"Types: deb\nURIs: {url}\nSuites: {suite}\nComponents: {components}\nSigned-By: {signer}\n"
        files = [{"path": signer, "content": key}, {"path": "/etc/apt/sources.list.d/golden-jobs-docker.sources", "content": source}]
    else:
        signer = "/etc/pki/rpm-gpg/RPM-GPG-KEY-golden-jobs-docker"
        source = f"[golden-jobs-docker]\nname=Docker\nbaseurl={url}\nenabled=1\ngpgcheck=1\ngpgkey=file://{signer}\n"
        files = [{"path": signer, "content": key}, {"path": "/etc/yum.repos.d/golden-jobs-docker.repo", "content": source}]
    return wrap_var(files)


def build_server_for(course, servers, hostvars):
    """The build server of a course, of those that answer (`build_servers.yml`) and by their weights."""
    names = [str(server) for server in servers]
    weights = {server: hostvars[server].get("build_server_weight", 1) for server in names}
    down = [server for server in names if not hostvars[server].get("build_server_answers", True)]
    try:
        return build_farm.choose(str(course), names, weights, down)
    except GoldenJobsError as error:
        raise AnsibleFilterError(str(error)) from None


def build_server_lines(servers, hostvars):
    """A table of what each build server has."""
    rows = []
    for server in servers:
        have = hostvars[server].get("build_server_report")
        if have:
            buildx = have["buildx"] or ("in the CLI" if have["cli"].partition(".")[0] in ("20", "22") else "")
            row = [
                have["engine"],
                have["storage"],
                buildx,
                have["git"],
                have["sdk"],
                have["python"],
                f"{have['free_gb']} GB",
                have["clock"],
            ]
        else:
            row = ["not made in this run, or failed", *[""] * 7]
        rows.append([server, *row])
    head = ["build server", "engine", "storage", "BuildKit", "git", "Docker SDK", "Python", "free disk", "clock"]
    return wrap_var([f"  {line}" for line in table(rows, head)])


class FilterModule:
    def filters(self):
        return {
            "build_server_for": build_server_for,
            "build_server_lines": build_server_lines,
            "build_server_file": build_server_file,
            "build_server_registry_ca": build_server_registry_ca,
            "build_server_repository_files": build_server_repository_files,
        }
