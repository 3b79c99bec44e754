"""Environments for partners' programs: a Python with their libraries, and nothing of Farmgate."""

import re
import sys
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path


def environment(folder: Path, *distributions: str) -> Path:
    """Make an environment with these distributions and what they need; return its Python.

    They are linked from this environment: a test needs no network.
    """
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    source = Path(sysconfig.get_path("purelib"))
    for name in _with_requirements(distributions):
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top != ".." and not (packages / top).exists():
                (packages / top).symlink_to(source / top)
    return folder / "bin" / "python"


def _with_requirements(names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            for requirement in distribution(name).requires or ():
                # What an extra or another system needs has a condition.
                if ";" not in requirement and (match := re.match(r"[\w.-]+", requirement)):
                    waiting.append(match[0])
    return found
