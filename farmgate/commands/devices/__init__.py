"""`farmgate devices`: the tills of the stations, what they may sell, and what went wrong there."""

import click

from farmgate.commands.devices import allotments, disputes, enrolment, overview


class InOrder(click.Group):
    """Subcommands in the order in which they are added, which is that of a device's life."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands."""
        return list(self.commands)


@click.group("devices", cls=InOrder)
def command() -> None:
    """The stations' tills: enrol them, give them goods to sell, decide what they dispute.

    A till sells while it is cut off, from what it was granted and nobody else can reach. It is
    enrolled with a one-time code:

    \b
      farmgate devices add 540421103        a code to type at /till on the device
      farmgate devices grant 540421103-1 HONEY-1 4 --packs
      farmgate devices list                 who has called, what is left, what is wrong
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
