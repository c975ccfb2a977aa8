"""Every derived file of a portfolio is emptied, cut or changed, one at a time: is the response the same, and rebuilt?

    python benchmarks/damaged.py [--every 1]

Exit status 1 where a response differs or fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from benchmarks.killed import plain  # noqa: E402
from benchmarks.power_cut import portfolio  # noqa: E402

TICKET = '{"ticket_id": "1", "client_id": "a", "opened_at": "2025-03-03"}\n'


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


DAMAGES = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": _flip,
}


def derived(folder: Path) -> list[Path]:
    """The files that can be computed again; the ledger is not one of them."""
    return sorted(path for path in (folder / ".healthseg").rglob("*") if path.is_file())


def responses(folder: Path) -> Any:
    import healthseg as hs

    with hs.Portfolio.open(folder) as opened:
        health = hs.calculate_health_score(opened, client_id="a").to_dict()
        usage = hs.track_usage_engagement(opened, client_id="a").to_dict()
        return plain([health, usage, opened.check().to_dict()], str(folder))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth file")
    options = parser.parse_args()
    tried = bad = 0
    with tempfile.TemporaryDirectory(prefix="damaged-") as name:
        folder = portfolio(Path(name) / "portfolio")
        (folder / "tickets.jsonl").write_text(TICKET)
        expected = responses(folder)
        files = derived(folder)[:: options.every]
        for path in files:
            for damage, apply in DAMAGES.items():
                if not path.is_file():  # its folder was built again under another name
                    continue
                apply(path)
                tried += 1
                try:
                    wrong = "" if responses(folder) == expected else "another response"
                except Exception as problem:
                    wrong = f"{type(problem).__name__}: {problem}"
                if wrong:
                    bad += 1
                    print(f"{path.relative_to(folder)} {damage}: {wrong}", flush=True)
    print(f"{len(files)} files, {tried} damages: {bad} without the same response")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
