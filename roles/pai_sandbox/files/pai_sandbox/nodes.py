"""Which tasks fit on which nodes: CPU, memory and GPUs are counted, nothing else is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .protocol import Role
from .settings import Node


@dataclass
class _Free:
    node: Node
    cpus: int
    memory_mb: int
    gpus: int

    def takes(self, role: Role) -> bool:
        return role.cpu <= self.cpus and role.memory_mb <= self.memory_mb and role.gpu <= self.gpus

    def take(self, role: Role) -> None:
        self.cpus -= max(role.cpu, 0)
        self.memory_mb -= max(role.memory_mb, 0)
        self.gpus -= max(role.gpu, 0)

    def lacks(self, role: Role) -> list[str]:
        lacking = [
            ("cpu", role.cpu > self.cpus),
            ("memory", role.memory_mb > self.memory_mb),
            ("nvidia.com/gpu", role.gpu > self.gpus),
        ]
        return [name for name, short in lacking if short]


class Capacity:
    """What is free on the nodes. ``used`` are the node and the role of each task that has a place."""

    def __init__(self, nodes: Iterable[Node], used: Iterable[tuple[str, Role]]) -> None:
        self._free = {node.name: _Free(node, node.cpus, node.memory_mb, node.gpus) for node in nodes}
        for name, role in used:
            if name in self._free:
                self._free[name].take(role)

    def place(self, role: Role) -> str | None:
        """Take a place for one task: the name of the first node that has room, or None when no node has."""
        for name, free in self._free.items():
            if free.takes(role):
                free.take(role)
                return name
        return None

    def problem(self, role: Role) -> str:
        """Why there is no place, as the scheduler says it."""
        counts: dict[str, int] = {}
        for free in self._free.values():
            for name in free.lacks(role):
                counts[name] = counts.get(name, 0) + 1
        reasons = ", ".join(f"{count} Insufficient {name}" for name, count in counts.items())
        return f"0/{len(self._free)} nodes are available: {reasons}."
