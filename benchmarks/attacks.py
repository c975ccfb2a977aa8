"""Hostile portfolios, one command each in a process of its own: what do they get?

    python benchmarks/attacks.py [--only WORD...] [--show] [--wants files network code memory time]

Exit status 1 where an attack got anything: a file outside the portfolio's folder read or written, a request on the
network, code that ran, more than 60 s or 2 GiB, an end without words. Linux only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

from benchmarks import (  # noqa: E402
    _attacks_by_file,
    _attacks_by_meaning,
    _attacks_by_place,
    _attacks_by_query,
    _attacks_by_surface,
)
from benchmarks._attacks import Attack, run  # noqa: E402

ATTACKS: list[Attack] = [
    *_attacks_by_query.ATTACKS,
    *_attacks_by_file.ATTACKS,
    *_attacks_by_surface.ATTACKS,
    *_attacks_by_place.ATTACKS,
    *_attacks_by_meaning.ATTACKS,
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=[""], help="attacks with one of these words")
    parser.add_argument("--wants", nargs="+", help="files, network, code, memory, time")
    parser.add_argument("--show", action="store_true", help="print what the command said")
    options = parser.parse_args()
    chosen = [
        attack
        for attack in ATTACKS
        if any(word in attack.name for word in options.only)
        and (not options.wants or attack.wants in options.wants)
    ]
    succeeded, slowest, largest = 0, 0.0, 0.0
    for attack in chosen:
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            outcome = run(attack, Path(folder))
        succeeded += bool(outcome.got)
        slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.peak_mb)
        verdict = f"GOT {'; '.join(outcome.got)}" if outcome.got else "nothing"
        print(
            f"{attack.wants:8}{attack.name:50}{outcome.seconds:6.1f} s{outcome.peak_mb:7.0f} MB  "
            f"status {outcome.status}  {verdict}",
            flush=True,
        )
        if options.show:
            print("    " + outcome.text[:1500].replace("\n", "\n    "))
    kinds = ", ".join(f"{n} for {kind}" for kind, n in Counter(a.wants for a in chosen).items())
    print(
        f"{len(chosen)} attacks ({kinds}): {succeeded} got something; at most {slowest:.0f} s and {largest:.0f} MB"
    )
    return int(succeeded > 0)


if __name__ == "__main__":
    sys.exit(main())
