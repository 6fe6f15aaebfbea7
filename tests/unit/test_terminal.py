"""What the terminal shows of a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT, ansible_environment

PLAYBOOK = """
- name: The first play
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: All is well
      ansible.builtin.command: "true"
      changed_when: false
    - name: Change something
      ansible.builtin.command: "true"
      changed_when: true
    - name: Change two things
      ansible.builtin.command: "true"
      changed_when: true
      loop: [a, b]
    - name: Leave something out
      ansible.builtin.command: "true"
      when: false
    - name: Say something
      show:
        lines: [some words]
    - name: Keep a secret
      ansible.builtin.command: echo s3cr3t
      changed_when: true
      no_log: true
    - name: Go wrong
      ansible.builtin.fail:
        msg: The reason in one sentence.
"""


def run(tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    argv = ["ansible-playbook", *flags, str(tmp_path / "play.yml")]
    return subprocess.run(argv, cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    done = run(tmp_path_factory.mktemp("terminal"))
    assert done.returncode == 2
    return done.stdout.partition("PLAY RECAP")[0].strip().splitlines()


def test_only_changes_failures_and_what_is_said_are_shown_one_line_each(shown: list[str]):
    assert shown == [
        "The first play",
        "  changed  localhost: Change something",
        "  changed  localhost: Change two things (a)",
        "  changed  localhost: Change two things (b)",
        "some words",
        "  changed  localhost: Keep a secret",
        "  failed   localhost: Go wrong",
        "           The reason in one sentence.",
    ]


def test_with_v_everything_is_shown_but_secrets(tmp_path: Path):
    output = run(tmp_path, "-v").stdout
    assert "ok: [localhost]" in output
    assert "TASK [All is well]" in output
    assert "s3cr3t" not in output


def test_check_mode_says_would(tmp_path: Path):
    (tmp_path / "play.yml").write_text(
        "- {name: P, hosts: localhost, connection: local, gather_facts: false, tasks: [{name: Write, copy: {content: x, dest: /tmp/never-written}}]}"
    )
    argv = ["ansible-playbook", "--check", str(tmp_path / "play.yml")]
    output = subprocess.run(argv, cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, check=True).stdout
    assert "  would    localhost: Write" in output
    assert not Path("/tmp/never-written").exists()
