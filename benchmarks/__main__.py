"""What is measured, each beside what one would use instead.

    python -m benchmarks [--full] [--write docs/evidence.md] [NAME...]


Each benchmark runs as a process of its own. ``--full`` adds the long ones (10,000 customers, 50 million events, many
seeds); ``--write`` keeps what they printed, with the command that made it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import platform
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
FULL: dict[str, list[str]] = {
    "mixpanel": ["--events", "10000000"],
    "facts": ["--memory", "50000000"],
    "panel": ["--clients", "10000"],
}


# It compares with a state captured before, so it needs arguments.
NOT_RUN = {"compare_responses"}


def names() -> list[str]:
    stems = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")}
    return sorted(stems - NOT_RUN)


def run(name: str, arguments: list[str]) -> tuple[int, str]:
    """A benchmark's exit status and what it printed; its lines are shown as they come."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


def section(name: str, arguments: list[str], printed: str) -> str:
    command = " ".join(["python", f"benchmarks/{name}.py", *arguments])
    origin = f"`{command}`, {dt.date.today()}, Python {platform.python_version()}"
    return f"## {name}\n\n{origin}\n\n```\n{printed.strip()}\n```\n"


def write_section(path: Path, name: str, text: str) -> None:
    """Replaces the benchmark's section in the file, or adds it."""
    title = "# Evidence\n\nFigures, and the commands that printed them.\n"
    document = path.read_text(encoding="utf-8") if path.exists() else title
    pattern = re.compile(rf"^## {re.escape(name)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    changed = (
        pattern.sub(lambda _: text + "\n", document)
        if pattern.search(document)
        else document.rstrip() + "\n\n" + text
    )
    path.write_text(changed.rstrip() + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    unknown = set(options.names) - set(names())
    if unknown:
        parser.error(f"no benchmark {sorted(unknown)[0]!r}; there are {', '.join(names())}")
    failed = []
    for name in options.names or names():
        arguments = FULL.get(name, []) if options.full else []
        print(f"\n== {name} {' '.join(arguments)}", flush=True)
        status, printed = run(name, arguments)
        failed += [name] if status else []
        if options.write:
            write_section(options.write, name, section(name, arguments, printed))
    if failed:
        print(f"\nnot reached or failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
