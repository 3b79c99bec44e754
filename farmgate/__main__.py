"""`python -m farmgate` is the `farmgate` command, for processes started by path."""

from farmgate.cli import main

if __name__ == "__main__":
    main(prog_name="farmgate")
