"""Commands whose memory, open files, sizes of files and disk are limited step by step: right answers, or words?

    python benchmarks/limits.py [--only memory files size disk] [--commands check run report] [--show]

Each command works on a cold copy of a small portfolio, in a process of its own. It must give the right answer, or end
with a status and a sentence of ours; without limits the same folder must then give the right answer, and no temporary
file and no process may be left. Exit status 1 where not. Linux only; limiting the disk needs the right to mount.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from benchmarks.killed import left_behind, plain  # noqa: E402
from benchmarks.power_cut import portfolio  # noqa: E402

TOOL = "calculate_health_score"
COMMANDS: dict[str, tuple[str, ...]] = {
    "check": ("check", "FOLDER", "--json"),
    "run": ("run", TOOL, "--portfolio", "FOLDER", "-p", "client_id=a"),
    "report": (
        *("report", TOOL, "--portfolio", "FOLDER", "--client", "a"),
        *("--out", "FOLDER/out", "--quiet", "--workers", "1"),
    ),
}
_KB = 1 << 10
# what is limited, in bytes or files
STEPS: dict[str, tuple[int, ...]] = {
    "memory": tuple(mb * 10**6 for mb in (100, 500, 1000, 2000, 3000, 4000, 6000, 75_000)),
    "files": (5, 8, 12, 16, 24, 48, 128),
    "size": (0, 100, _KB, 4 * _KB, 16 * _KB, 64 * _KB, 1 << 20),
    "disk": tuple(kb * _KB for kb in (16, 32, 64, 128, 256, 512, 1024, 2048)),
}  # fmt: skip
_LIMITS = {
    "memory": resource.RLIMIT_AS,
    "files": resource.RLIMIT_NOFILE,
    "size": resource.RLIMIT_FSIZE,
}
_SECONDS = 300.0
_NOT_OURS = re.compile(r"Traceback \(most recent|unexpected \w+|Error: ")


@dataclass(frozen=True)
class Outcome:
    """How a limited command ended: ``right``, ``words``, or what is wrong with it."""

    kind: str
    text: str


def limited(
    words: tuple[str, ...], folder: Path, kind: str = "", amount: int = 0
) -> subprocess.CompletedProcess[str]:
    """Runs a command on a portfolio, under a limit where a kind is named."""

    def limit() -> None:
        if kind in _LIMITS:
            resource.setrlimit(_LIMITS[kind], (amount, amount))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    filled = [word.replace("FOLDER", str(folder)) for word in words]
    return subprocess.run(
        [sys.executable, "-P", "-m", "healthseg.cli.main", *filled],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
        preexec_fn=limit,
    )


def answer(ended: subprocess.CompletedProcess[str], folder: Path) -> Any:
    """What a command that succeeded said, or wrote beside its page."""
    text = ended.stdout
    if pages := sorted(folder.glob(f"out/**/{TOOL}.html")):
        assert pages[0].read_text("utf-8").rstrip().endswith("</html>"), "a page is cut"
        text = pages[0].with_suffix(".json").read_text("utf-8")
    return plain(json.loads(text), str(folder))


def outcome_of(ended: subprocess.CompletedProcess[str], folder: Path, expected: Any) -> Outcome:
    text = f"{ended.stdout}{ended.stderr}"
    if ended.returncode == 0:
        right = answer(ended, folder) == expected
        return Outcome("right" if right else "ANOTHER ANSWER", text)
    if ended.returncode not in (1, 3) or not text.strip():
        return Outcome(f"AN END WITHOUT WORDS (status {ended.returncode})", text)
    return Outcome("NOT OUR WORDS" if _NOT_OURS.search(text) else "words", text)


def attempt(words: tuple[str, ...], folder: Path, kind: str, amount: int, expected: Any) -> Outcome:
    """The command under a limit, then without: how the first ended, or what is wrong after the second."""
    try:
        outcome = outcome_of(limited(words, folder, kind, amount), folder, expected)
    except subprocess.TimeoutExpired:
        return Outcome(f"NO END IN {_SECONDS:.0f} S", "")
    if kind == "disk":
        subprocess.run(["mount", "-o", "remount,size=256m", str(folder)], check=True)
    ended = limited(words, folder)
    if ended.returncode or answer(ended, folder) != expected:
        return Outcome("ANOTHER ANSWER AFTERWARDS", ended.stdout + ended.stderr)
    if left := left_behind(folder, folder / "tmp"):
        return Outcome(f"LEFT BEHIND {', '.join(left)}", outcome.text)
    return outcome


@contextlib.contextmanager
def cold(base: Path, kind: str, amount: int) -> Iterator[Path | None]:
    """A copy of the portfolio, on a disk of this size where that is limited; None where it does not fit."""
    with tempfile.TemporaryDirectory(prefix="limits-") as name, contextlib.ExitStack() as stack:
        folder = Path(name) / "portfolio"
        folder.mkdir()
        if kind == "disk":
            options = ["-o", f"size={amount}", "tmpfs", str(folder)]
            subprocess.run(["mount", "-t", "tmpfs", *options], check=True)
            stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
        try:
            shutil.copytree(base, folder, dirs_exist_ok=True)
            (folder / "tmp").mkdir()
        except OSError:
            yield None
        else:
            yield folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--show", action="store_true", help="print what the commands said")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="limits-") as name:
        base = portfolio(Path(name) / "base")
        for command in options.commands:
            words = COMMANDS[command]
            with cold(base, "", 0) as folder:
                assert folder is not None
                expected = answer(limited(words, folder), folder)
            for kind in options.only:
                for amount in STEPS[kind]:
                    with cold(base, kind, amount) as folder:
                        if folder is None:
                            continue
                        outcome = attempt(words, folder, kind, amount, expected)
                    counts[outcome.kind if outcome.kind in ("right", "words") else "WRONG"] += 1
                    last = (outcome.text.strip().splitlines() or [""])[-1][:150]
                    said = "" if outcome.kind == "right" else last
                    print(f"{command:7}{kind:7}{amount:>14,}  {outcome.kind}  {said}", flush=True)
                    if options.show and outcome.kind != "right":
                        print("    " + outcome.text[-1500:].replace("\n", "\n    "))
    print(f"{counts.total()} commands under limits: {dict(counts)}")
    return int(counts["WRONG"] > 0)


if __name__ == "__main__":
    sys.exit(main())
