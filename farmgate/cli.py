"""The `farmgate` command. Each subcommand is one module of `farmgate/commands`.

Exit codes: 0 done, 1 a check failed or a request was refused, 2 wrong usage, 3 a service, database
or broker cannot be reached.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from typing import Any, NoReturn

import click

from farmgate import run_file
from farmgate.failures import Failed
from farmgate.groups import Group
from farmgate.printing import never_failing
from shared.runtime.errors import Misconfigured
from shared.runtime.plain import plain_lines

#: The umask: files are readable by their owner only.
PRIVATE = 0o077
#: In the order in which a newcomer needs them.
COMMANDS = (
    "up",
    "sample",
    "import",
    "export",
    "demo",
    "trace",
    "verify",
    "orders",
    "refunds",
    "devices",
    "cash",
    "lots",
    "parked",
    "doctor",
    "events",
    "backup",
    "restore",
    "tokens",
    "web",
    "worker",
    "migrate",
    "topology",
    "integrators",
    "pages",
    "secrets",
    "certificate",
)


#: Subcommands that are the system itself; the others find the servers of a running `farmgate up`.
RUNNING = ("up", "web", "worker", "pages")
#: Modules of subcommands whose names are Python keywords.
MODULES = {"import": "importing", "export": "exporting"}


def _module(name: str) -> str:
    return f"farmgate.commands.{MODULES.get(name, name)}"


def _is_here(name: str) -> bool:
    """Return whether a subcommand is installed; a service's image has only those it runs."""
    return find_spec(_module(name)) is not None


class Commands(Group):
    """The subcommands, each imported when it is used, so that a worker imports no rich tables."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the installed subcommands."""
        return [name for name in COMMANDS if _is_here(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return `command` of `farmgate/commands/<name>.py`."""
        if cmd_name not in COMMANDS or not _is_here(cmd_name):
            return None
        command = import_module(_module(cmd_name)).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, and for it the servers of a running `farmgate up`."""
        name, command, rest = super().resolve_command(ctx, args)
        if name not in RUNNING:
            os.environ.update(run_file.with_settings(os.environ))
        return name, command, rest

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command and exit; a failed print does not change the exit code."""
        with never_failing():
            try:
                code = super().main(*args, **options | {"standalone_mode": False})
            except click.ClickException as error:
                shown = StringIO()
                error.show(shown)
                print(plain_lines(shown.getvalue()), end="", file=sys.stderr)
                code = error.exit_code
            except click.Abort:
                print("Aborted!", file=sys.stderr)
                code = 1
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand; a wrong setting ends it with a message, not with a stack trace.

        Files are readable by their owner only: databases, logs and backups hold personal data
        and secrets.
        """
        os.umask(PRIVATE)
        try:
            return super().invoke(ctx)
        except Misconfigured as error:
            raise Failed(error.detail) from error


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=(
        "Exit codes: 0 done, 1 a check failed or a request was refused, 2 wrong usage, "
        "3 a service, database or broker cannot be reached."
    ),
)
@click.version_option(package_name="farmgate")
def main() -> None:
    """Farmgate lets many channels sell one stock.

    Begin with `farmgate up --sample`: all four services in one process, with sample data, on
    http://127.0.0.1:8000. Then, in another terminal, `farmgate demo` sends orders through them
    and `farmgate trace ORD-…` shows the path of one.

    Settings come from the environment (FARMGATE_…); `farmgate doctor` checks them.
    """


if __name__ == "__main__":
    sys.exit(main())
