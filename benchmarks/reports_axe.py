"""Every kind of page under axe-core, in one run: eight reports each, the board, customer 360, the index and the digest of alerts.

    npm pack axe-core && tar xzf axe-core-*.tgz
    HEALTHSEG_AXE=package/axe.min.js python benchmarks/reports_axe.py [--clients 250]

A view is a page at 390 or 1,440 px, in light or dark, opened from a file in headless Chromium without a network; folds
are opened first, so that what they hide is judged too. Reach: no serious and no critical violation, nothing asked for.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

RUN = """axe.run(document, {resultTypes: ['violations']}).then(told => told.violations.map(one =>
  [one.impact, one.id, one.nodes.length, one.nodes[0].html.slice(0, 160)]))"""
OPENED = "document.querySelectorAll('details').forEach(one => one.open = true);"


def views(page: Path, axe: str, browser) -> list[tuple[str, list]]:
    """What axe-core says of a page's four views, and of what the page asks the network for."""
    from tests.reports.test_every_page import SETTLED

    violations = []
    for width in (390, 1440):
        for dark in (False, True):
            browser.open(page, width, dark)
            pages = browser.requests[1:]
            browser.run(SETTLED)
            browser.run(OPENED + axe + ";1")
            faults = browser.run(RUN) + [["critical", "request", 1, url] for url in pages]
            violations.append((f"{page.stem} {width} px {'dark' if dark else 'light'}", faults))
    return violations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", type=int, default=250)
    parser.add_argument(
        "--axe", default=os.environ.get("HEALTHSEG_AXE", ""), help="the path of axe.min.js"
    )
    options = parser.parse_args()
    if not Path(options.axe).is_file():
        print("not run: HEALTHSEG_AXE or --axe must name axe.min.js (npm pack axe-core)")
        return 0
    from healthseg.data.portfolio import Portfolio
    from healthseg.demo import make_demo
    from tests.reports import browser, every_page

    axe, violations = Path(options.axe).read_text("utf-8"), []
    with tempfile.TemporaryDirectory() as name, browser.browsing() as chromium:
        make_demo(f"{name}/portfolio", clients=options.clients, events="light")
        portfolio = Portfolio.open(f"{name}/portfolio")
        live = portfolio.table("customers").query("churned_on.isna()")["client_id"].min()
        portfolio.close()
        chromium.call("Page.setBypassCSP", enabled=True)  # axe-core itself is foreign to the page
        chromium.call(
            "Network.emulateNetworkConditions",
            offline=True,
            latency=0,
            downloadThroughput=0,
            uploadThroughput=0,
        )
        for _, page in every_page.pages(Path(name) / "portfolio", live, Path(name)):
            violations += views(page, axe, chromium)
    impacts = Counter(impact for _, faults in violations for impact, *_ in faults)
    for view, faults in violations:
        for impact, rule, nodes, first in faults:
            print(f"{view}: {impact}, {rule}, {nodes} places, first {first}")
    counted = ", ".join(
        f"{impacts[impact]} {impact}" for impact in ("critical", "serious", "moderate", "minor")
    )
    print(
        f"{len(every_page.KINDS)} kinds of pages, {len(violations)} views, network off; violations: {counted}"
    )
    return int(impacts["critical"] + impacts["serious"] > 0)


if __name__ == "__main__":
    sys.exit(main())
