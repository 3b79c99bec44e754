"""Integrators' queues at the broker: which feed each gets, and how far it is fed."""

from services.notifications.use_cases.queues.feeding import (
    load_positions,
    next_windows,
    record_results,
)
from services.notifications.use_cases.queues.looking import Progress, record_looks
from services.notifications.use_cases.queues.manage import (
    QueueNotFound,
    QueueState,
    add_queue,
    list_queues,
    remove_queue,
    replay_queue,
    set_back_lost,
)

__all__ = [
    "Progress",
    "QueueNotFound",
    "QueueState",
    "add_queue",
    "list_queues",
    "load_positions",
    "next_windows",
    "record_looks",
    "record_results",
    "remove_queue",
    "replay_queue",
    "set_back_lost",
]
