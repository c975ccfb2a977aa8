"""Reports as MCP resources: the HTML pages below one folder, and nothing else of the machine."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

from mcp.types import Resource

SCHEME = "healthseg://reports/"
PAGE = 200  # resources listed at once


def pages(folder: Path) -> list[Path]:
    """The reports in a folder, the index first, those of the portfolio before those of customers."""
    paths = [path for path in folder.rglob("*.html") if _is_report(path, folder)]
    return sorted(
        paths,
        key=lambda path: (
            len(_within(path, folder)),
            "overview" not in _within(path, folder),
            path,
        ),
    )


def listed(folder: Path, start: int) -> tuple[list[Resource], int | None]:
    """A page of resources from ``start``, and where the next page begins."""
    paths = pages(folder)
    resources = [_resource(path, folder) for path in paths[start : start + PAGE]]
    return resources, start + PAGE if start + PAGE < len(paths) else None


def read(folder: Path, uri: str) -> str | None:
    """A report's markup, or None where there is no such report in the folder."""
    if not uri.startswith(SCHEME):
        return None
    try:
        path = folder / unquote(uri.removeprefix(SCHEME))
        return path.read_text(encoding="utf-8") if _is_report(path, folder) else None
    except (OSError, ValueError):
        return None


def _is_report(path: Path, folder: Path) -> bool:
    """Whether this is a page within the folder, by its name and by where its links lead; no part of it is hidden."""
    names = (path, folder), (path.resolve(), folder.resolve())
    return (
        all(
            file.is_relative_to(root)
            and file.suffix == ".html"
            and not any(part.startswith(".") for part in _within(file, root))
            for file, root in names
        )
        and path.is_file()
    )


def _within(path: Path, folder: Path) -> tuple[str, ...]:
    return path.relative_to(folder).parts


def _resource(path: Path, folder: Path) -> Resource:
    parts = _within(path, folder)
    names = [part for part in (parts[-1], *parts[:-1][::-1]) if part != "customers"]
    words = " of ".join(name.removesuffix(".html").replace("_", " ") for name in names)
    return Resource(
        uri=SCHEME + quote("/".join(parts)),
        name="/".join(parts),
        title=f"Report: {words}",
        mime_type="text/html",
        size=path.stat().st_size,
    )
