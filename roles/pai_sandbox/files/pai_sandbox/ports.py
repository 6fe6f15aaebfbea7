"""Ports of a task: a hash of its pod uid, as rest-server and the runtime both compute them."""

from __future__ import annotations

import hashlib
import socket
import uuid
from collections.abc import Collection

FIRST_PORT = 15000
END_PORT = 40000


def port_number(pod_uid: str, label: str, index: int) -> int:
    """Port ``index`` of a label, from 15000 to 39999."""
    digest = hashlib.md5(f"[{pod_uid}][{label}][{index}]".encode(), usedforsecurity=False).hexdigest()
    total = int(digest[:12], 16) + int(digest[12:24], 16) + int(digest[24:], 16)
    return total % (END_PORT - FIRST_PORT) + FIRST_PORT


def port_numbers(pod_uid: str, counts: dict[str, int]) -> dict[str, list[int]]:
    """All ports of a task by label; ``counts`` says how many each label has."""
    return {label: [port_number(pod_uid, label, index) for index in range(count)] for label, count in counts.items()}


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_pod_uid(counts: dict[str, int], taken: Collection[int]) -> str:
    """A new pod uid whose ports differ from each other, are not ``taken`` and are free on this host now."""
    while True:
        uid = str(uuid.uuid4())
        numbers = [number for ports in port_numbers(uid, counts).values() for number in ports]
        if len(set(numbers)) == len(numbers) and not any(number in taken for number in numbers) and all(map(_is_free, numbers)):
            return uid
