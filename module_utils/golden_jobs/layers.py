"""What became of each layer of an image while an engine pushed it, from the engine's events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WAITING, PUSHING, PUSHED, PRESENT, MOUNTED = "waiting", "pushing", "pushed", "present", "mounted"
_DONE = (PUSHED, PRESENT, MOUNTED)


@dataclass
class Layer:
    """`size` in bytes before compression, as engines count; None while it is unknown. `current` of them are sent."""

    id: str
    state: str = WAITING
    size: int | None = None
    current: int = 0

    @property
    def done(self) -> bool:
        return self.state in _DONE


class Layers:
    """The layers of one image over all its tags and attempts."""

    def __init__(self, image: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """`image` and `history` as the engine's inspect and history answer."""
        self._image_size = int(image.get("Size") or 0)
        self._sizes = _sizes((image.get("RootFS") or {}).get("Layers") or [], history)
        self._layers: dict[str, Layer] = {}

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers.values())

    def see(self, event: Mapping[str, Any]) -> None:
        """Take in one event of a push."""
        status = str(event.get("status") or "").lower()
        if "id" not in event or not status:
            return
        layer = self._layers.setdefault(event["id"], Layer(event["id"], size=self._sizes.get(event["id"])))
        if status == "pushing":
            self._pushing(layer, event.get("progressDetail") or {})
        elif status == "pushed" and not layer.done:
            layer.size = layer.current if layer.size is None else layer.size
            layer.state, layer.current = PUSHED, layer.size
        elif status.startswith("mounted from") and not layer.done:
            layer.state = MOUNTED
        elif "already exists" in status and not layer.done:
            layer.state = PRESENT
        elif status.startswith("retrying"):
            layer.state, layer.current = WAITING, 0

    def _pushing(self, layer: Layer, detail: Mapping[str, Any]) -> None:
        layer.state = PUSHING
        if detail.get("total"):
            layer.size = int(detail["total"])
        current = int(detail.get("current") or 0)
        layer.current = current if layer.size is None else min(current, layer.size)  # engines also count the headers of the archive

    @property
    def sent(self) -> int:
        """Bytes of layers that were sent. What was sent in vain is left out: engines do not count it reliably."""
        return sum(layer.current for layer in self)

    @property
    def total(self) -> int:
        """Bytes of the whole image. It never falls: what is there already counts as done instead."""
        return max(self._image_size, sum(layer.size or 0 for layer in self))

    @property
    def done(self) -> int:
        """Bytes of `total` that the registry has."""
        done = self.sent + sum(layer.size or 0 for layer in self if layer.state in (PRESENT, MOUNTED))
        unknown = [layer for layer in self if layer.size is None]
        if unknown and all(layer.done for layer in unknown):  # what the others leave of the image is theirs
            done += self.total - sum(layer.size or 0 for layer in self)
        return min(done, self.total)

    def count(self, *states: str) -> int:
        return sum(layer.state in states for layer in self)

    def result(self) -> dict[str, Any]:
        """The part of a module's result that is about layers."""
        return {
            "bytes_sent": self.sent,
            "layers_pushed": self.count(PUSHED),
            "layers_present": self.count(PRESENT, MOUNTED),
            "layers": [{"id": layer.id, "state": layer.state, "bytes": layer.size} for layer in self],
        }


def _sizes(diff_ids: Sequence[str], history: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Size per short layer id, where the history says it without doubt: as many steps with a size as layers."""
    sizes = [int(step["Size"]) for step in reversed(history) if step.get("Size")]
    ids = [diff_id.partition(":")[2][:12] for diff_id in diff_ids]
    return dict(zip(ids, sizes)) if len(ids) == len(sizes) else {}
