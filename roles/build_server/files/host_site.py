"""Prints this machine's mirrors, proxy and CA as JSON, as its own tools use them.

Keys, each absent where the machine has nothing of the kind: ca_file (path), http_proxy, https_proxy, no_proxy,
pip_index_url, npm_registry (URLs), apt_conf (apt.conf text), debian_mirror (URL), debian_suite (code name), debian_sources (lines of a sources.list).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

COMPONENTS = ("main", "universe")
SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def output(*argv: str) -> str:
    """Standard output of a command; empty where it is missing or fails."""
    if not shutil.which(argv[0]):
        return ""
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def environment(*names: str) -> str | None:
    """The first of these variables that is set, in upper or lower case."""
    for name in names:
        for spelling in (name, name.upper(), name.lower()):
            if os.environ.get(spelling):
                return os.environ[spelling]
    return None


def ca_file() -> str | None:
    """The bundle that the host's own tools trust; a corporate proxy's CA is in it."""
    named = environment("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return next((path for path in (named, *SYSTEM_BUNDLES) if path and os.path.isfile(path)), None)


def pip_index_url() -> str | None:
    """The index that pip uses, unless it is pip's own default."""
    configured = environment("PIP_INDEX_URL") or output(sys.executable, "-m", "pip", "config", "get", "global.index-url")
    return configured if configured and configured.startswith(("http://", "https://")) else None


def npm_registry() -> str | None:
    """The registry that npm uses, where npm is installed."""
    configured = output("npm", "config", "get", "registry")
    return configured if configured.startswith(("http://", "https://")) else None


def apt_conf() -> str | None:
    """Proxy and certificate settings of apt."""
    wanted = ("::Proxy ", "::Verify-Peer ", "::Verify-Host ")
    lines = [line for line in output("apt-config", "dump", "Acquire").splitlines() if any(word in line for word in wanted)]
    return "\n".join(lines) + "\n" if lines else None


def debian_sources() -> list[tuple[str, str, str]]:
    """Address, suite and component of this machine's own distribution, security and updates among them."""
    with open("/etc/os-release", encoding="utf-8") as handle:
        release = dict(line.strip().split("=", 1) for line in handle if "=" in line)
    codename = release.get("VERSION_CODENAME", "").strip('"')
    # As of no lists at all: apt-get indextargets names only the sources whose list this machine has fetched already.
    with tempfile.TemporaryDirectory() as empty:
        lines = output("apt-get", "update", "--print-uris", "-o", f"Dir::State::Lists={empty}")
    sources = dict.fromkeys(re.findall(r"^'([^']*/)dists/([^/']+)/([^']+)/binary-[^/']+/Packages", lines, re.MULTILINE))
    return [(uri, suite, component) for uri, suite, component in sources if suite.partition("-")[0] == codename and component in COMPONENTS]


def main() -> None:
    sources = debian_sources()
    mirror = next((source for source in sources if "-" not in source[1] and source[2] == "main"), None)
    site = {
        "ca_file": ca_file(),
        "http_proxy": environment("http_proxy"),
        "https_proxy": environment("https_proxy"),
        "no_proxy": environment("no_proxy"),
        "pip_index_url": pip_index_url(),
        "npm_registry": npm_registry(),
        "apt_conf": apt_conf(),
        "debian_mirror": mirror[0] if mirror else None,
        "debian_suite": mirror[1] if mirror else None,
        "debian_sources": [f"deb {' '.join(source)}" for source in sources],
    }
    print(json.dumps({name: value for name, value in site.items() if value}, indent=2, sort_keys=True))


if __name__ == "__main__":
    main()
