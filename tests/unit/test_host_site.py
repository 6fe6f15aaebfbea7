"""roles/build_server: mirrors, proxy and CA as the host itself uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "build_server" / "files" / "host_site.py"
BARE = {"PATH": "/usr/bin:/bin"}


def site(**environment: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, str(SCRIPT)], env={**BARE, **environment}, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_proxies_are_taken_over_in_either_spelling():
    found = site(HTTPS_PROXY="http://proxy.example:3128", http_proxy="http://proxy.example:3129", no_proxy="localhost")
    assert found["https_proxy"] == "http://proxy.example:3128"
    assert found["http_proxy"] == "http://proxy.example:3129"
    assert found["no_proxy"] == "localhost"


def test_a_ca_bundle_that_the_environment_names_goes_before_the_systems(tmp_path: Path):
    bundle = tmp_path / "corporate.pem"
    bundle.write_text("a certificate")
    assert site(SSL_CERT_FILE=str(bundle))["ca_file"] == str(bundle)
    assert site(SSL_CERT_FILE=str(tmp_path / "missing.pem")).get("ca_file") != str(tmp_path / "missing.pem")


def test_the_package_index_of_pip_is_taken_over():
    assert site(PIP_INDEX_URL="https://mirror.example/simple")["pip_index_url"] == "https://mirror.example/simple"


def test_a_local_folder_as_index_stays_here_because_no_build_could_reach_it():
    assert "pip_index_url" not in site(PIP_INDEX_URL="file:///srv/pypi/simple")


def test_the_distributions_own_mirror_is_found_with_its_security_updates_whatever_lists_were_fetched(tmp_path: Path):
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::State::Lists "{tmp_path / "lists"}";')
    (tmp_path / "lists").mkdir()
    found = site()
    assert found["debian_mirror"].startswith("http")
    assert found["debian_sources"][0].endswith(f"{found['debian_suite']} main")
    assert any("-security" in source for source in found["debian_sources"])
    assert site(APT_CONFIG=str(config))["debian_sources"] == found["debian_sources"]
