"""`farmgate doctor`: is everything in place?"""

import json
import os
from dataclasses import asdict

import click
from rich.markup import escape

from farmgate import doctor
from farmgate.console import out


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(as_json: bool) -> None:
    """Check settings, keys, databases, events, broker, topology, disk, and that services answer.

    Each line that begins with ✗ says what is wrong and what to do.

    Exit code 0: all is well. 1: something is not.
    """
    findings = []
    for finding in doctor.examine(os.environ):
        findings.append(finding)
        if not as_json:
            mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
            out.print(f"{mark} {escape(finding.check)}: {escape(finding.detail)}", soft_wrap=True)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)
