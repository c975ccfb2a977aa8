"""A folder a day, and how many of them are kept."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from pathlib import Path

from healthseg.reports import writing

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def folder(out: Path, day: dt.date) -> Path:
    """The folder of a day's reports."""
    return writing.inside(out, str(day), "index.html").parent


def all_days(out: Path) -> list[Path]:
    """The folders of days, the newest first; links are not counted."""
    found = [
        path
        for path in out.iterdir()
        if _DAY.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
    return sorted(found, reverse=True)


def retire(out: Path, kept: int) -> list[str]:
    """Remove the folders of all days but the newest ``kept``; their names."""
    old = all_days(out)[kept:]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in old]
