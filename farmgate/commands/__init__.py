"""The subcommands, one module each; `command` is what `farmgate <name>` runs."""
