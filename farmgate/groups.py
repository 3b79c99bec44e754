"""The group of subcommands that lists each with its whole first sentence."""

import click


class Group(click.Group):
    """A group whose help breaks a long sentence over lines; Click cuts it off after one line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each subcommand's name and the first sentence of its help."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, each.get_short_help_str(limit=300)) for name, each in commands if each]
            )
