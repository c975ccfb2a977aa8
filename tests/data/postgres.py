"""A private PostgreSQL server for tests: made in a folder of its own, reached by a socket in it, ended afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REQUIRED = "HEALTHSEG_POSTGRES_REQUIRED"  # set where it has to be there, by .ci/run
_SERVER = {
    "fsync": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "listen_addresses": "",
}


def _absent(reason: str) -> None:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but {reason}")
    pytest.skip(reason)


def _programs() -> Path:
    """The folder of initdb and pg_ctl, of the newest version that is installed."""
    program = shutil.which("initdb")
    places = [Path(program).parent] if program else []
    places += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name)
    )
    for folder in places:
        if all((folder / name).is_file() for name in ("initdb", "pg_ctl")):
            return folder
    _absent("PostgreSQL is not installed (Debian: apt install postgresql)")
    raise AssertionError("unreachable")


def _as_user(command: list[str]) -> list[str]:
    """The server refuses to run as root: then it is the system's user postgres, or nobody."""
    if os.geteuid() != 0:
        return command
    users = {entry.pw_name for entry in pwd.getpwall()}
    return ["runuser", "-u", "postgres" if "postgres" in users else "nobody", "--", *command]


@contextmanager
def server() -> Iterator[str]:
    """A server's address; skips, or fails where it is required, without one."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="hs-pg-"))
    folder.chmod(0o777)
    data, quiet = (
        folder / "data",
        {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "check": True},
    )
    try:
        subprocess.run(
            _as_user(
                [
                    str(programs / "initdb"),
                    "-D",
                    str(data),
                    "-U",
                    "healthseg",
                    "-A",
                    "trust",
                    "-N",
                    "-E",
                    "UTF8",
                    "--locale",
                    "C",
                ]
            ),
            cwd=folder,
            **quiet,
        )
        options = (
            " ".join(f"-c {name}='{value}'" for name, value in _SERVER.items()) + f" -k {folder}"
        )
        subprocess.run(
            _as_user(
                [
                    str(programs / "pg_ctl"),
                    "-D",
                    str(data),
                    "-l",
                    str(folder / "log"),
                    "-w",
                    "-t",
                    "60",
                    "-o",
                    options,
                    "start",
                ]
            ),
            cwd=folder,
            **quiet,
        )
        try:
            yield f"postgresql://healthseg@/postgres?host={folder}"
        finally:
            subprocess.run(
                _as_user([str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"]),
                cwd=folder,
                **quiet,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
