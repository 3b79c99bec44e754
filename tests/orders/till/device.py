"""A till as these tests see it, and how they read its answers."""

from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

from shared.runtime.devices import Device

Answer = dict[str, Any]


class Till(Protocol):
    """A device that calls orders; see `conftest.py`."""

    device: Device
    headers: dict[str, str]

    def upload(self, *entries: Any) -> list[Answer]: ...
    def send(self, **changes: Any) -> Any: ...
    def attention(self) -> dict[str, Any]: ...
    def id_of(self, number: int) -> UUID: ...


Enrol = Callable[..., Till]


def words(answers: list[Answer]) -> list[str]:
    """Return each answer in few words: its status, and the reason if there is one."""
    return [" ".join(filter(None, (answer["status"], answer["reason"]))) for answer in answers]
