"""`farmgate devices`: the stations' tills, their allotments, and their disputed sales."""

import click

from farmgate.commands.devices import allotments, disputes, enrolment, overview
from farmgate.groups import Group


class InOrder(Group):
    """A group that lists its subcommands in the order of a device's life."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands."""
        return list(self.commands)


@click.group("devices", cls=InOrder)
def command() -> None:
    """The stations' tills: enrol them, grant them goods to sell, decide disputed sales.

    A till also sells while it is disconnected, from allotments that only it can sell. Enrol it
    with a one-time code:

    \b
      farmgate devices add 540421103        a code to type at /till on the device
      farmgate devices grant 540421103-1 HONEY-1 4 --packs
      farmgate devices list                 last contact, remaining goods, problems
    """


for each in (
    enrolment.add,
    enrolment.replace,
    enrolment.revoke,
    overview.list_devices,
    overview.show,
    overview.holding,
    allotments.grant,
    allotments.take_back,
    allotments.count,
    allotments.suspend,
    allotments.resume,
    allotments.rule,
    allotments.list_rules,
    disputes.list_disputes,
    disputes.settle,
    disputes.acknowledge,
    disputes.correct,
    disputes.list_flagged,
    disputes.import_file,
):
    command.add_command(each)
