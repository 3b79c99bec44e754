"""`farmgate doctor`: check the installation."""

import os
from dataclasses import asdict

import click

from farmgate import doctor
from farmgate.console import OK, WRONG, echo, show_json


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(as_json: bool) -> None:
    """Check settings, keys, databases, events, broker, topology, disk, and that services answer.

    Each line that begins with ✗ says what is wrong and what to do.

    Exit code 0: all checks passed. 1: a check failed.
    """
    findings = []
    for finding in doctor.examine(os.environ):
        findings.append(finding)
        if not as_json:
            mark = OK if finding.ok else WRONG
            echo(mark, f" {finding.check}: {finding.detail}")
    if as_json:
        show_json([asdict(finding) for finding in findings])
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)
