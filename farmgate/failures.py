"""How a command ends when it cannot do what was asked; each says what to do next."""

from typing import Any

import click

from shared.runtime.plain import plain


class Failed(click.ClickException):
    """A check failed or the work could not be done: exit code 1."""

    exit_code = 1


class Unreachable(click.ClickException):
    """Something that is needed does not answer: exit code 3."""

    exit_code = 3


class Refused(Failed):
    """A service answered with a problem: exit code 1."""

    def __init__(self, service: str, status: int, problem: dict[str, Any]) -> None:
        self.service = service
        self.status = status
        self.problem = problem
        errors = problem.get("errors")
        super().__init__(
            plain(f"{service} answered {status}: {problem.get('detail') or problem.get('title')}")
            + (f" {errors}" if errors else "")
        )

    @property
    def kind(self) -> str:
        """The problem's type without its address, such as `out-of-stock`."""
        return str(self.problem.get("type", "")).rstrip("/").rpartition("/")[2]
