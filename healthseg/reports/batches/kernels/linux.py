"""What Linux offers for keeping processes together; elsewhere each does nothing, and says so by its answer."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_DIE_WITH_PARENT, _ADOPT_ORPHANS = 1, 36
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _prctl(option: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        return ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


def die_with_parent() -> bool:
    """This process is killed when the one that started it ends, however it ends."""
    return _prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def adopt_orphans() -> bool:
    """Descendants whose parents ended become children of this process, so that none gets away."""
    return _prctl(_ADOPT_ORPHANS, 1)


def children(pid: int) -> list[int]:
    """The processes whose parent is ``pid``."""
    return [int(name) for name in _processes() if _stat(name, 1) == pid]


def group_memory(group: int) -> int:
    """The resident memory of a process group in bytes; 0 where it can't be told."""
    return sum(_resident(name) for name in _processes() if _group(int(name)) == group)


def own_memory() -> int:
    """The resident memory of this process in bytes; 0 where it can't be told."""
    return _resident("self")


def _processes() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def _resident(name: str) -> int:
    try:
        with open(f"/proc/{name}/statm", "rb") as file:
            return int(file.read().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _stat(name: str, field: int) -> int:
    """A field of /proc/PID/stat after the name, which may hold anything."""
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[field])
    except (OSError, IndexError, ValueError):
        return 0
