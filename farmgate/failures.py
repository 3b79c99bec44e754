"""Exceptions that end a command with an exit code; each message says what to do next."""

from typing import Any

import click

from shared.runtime.plain import plain


class Failed(click.ClickException):
    """Raised when a check failed or the command could not be done: exit code 1."""

    exit_code = 1


class Unreachable(click.ClickException):
    """Raised when a service, database or broker does not answer: exit code 3."""

    exit_code = 3


class Refused(Failed):
    """Raised when a service answers with a problem document: exit code 1."""

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
        """The last part of the problem's type, such as `out-of-stock`."""
        return str(self.problem.get("type", "")).rstrip("/").rpartition("/")[2]


def reason_of(error: Exception) -> str:
    """Return the text of a database error: the driver's own, without SQLAlchemy's additions."""
    return str(getattr(error, "orig", None) or error).strip()


def database_unreachable(service: str, error: Exception, *, migrate: bool = False) -> Unreachable:
    """Return the failure for a service's database; with `migrate`, it may be too old."""
    hint = f", and run: farmgate migrate {service}" if migrate else "."
    return Unreachable(
        f"The database of {service} cannot be used: {reason_of(error)}\n"
        f"Check FARMGATE_{service.upper()}_DATABASE_URL{hint}"
    )
