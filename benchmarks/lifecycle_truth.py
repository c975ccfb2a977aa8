"""What manage_lifecycle_stages finds in portfolios whose stages are known, over many seeds.

    python benchmarks/lifecycle_truth.py [--seeds 20] [--clients 250]

Stays equal to the planted ones to the day; disagreements with contracts exactly the planted ones; the planted law
inside the curves' 90% intervals, counted at its quartiles over the stages with 30 stays. The law knows no leaving,
which is drawn apart from it: here those that left are censored. Beside it the naive curve of finished stays alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that a checkout that is not installed will do

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

import healthseg as hs  # noqa: E402
from healthseg.demo import make_demo  # noqa: E402
from healthseg.metrics.stages import (  # noqa: E402
    history,
    portfolio_stage_spells,
    time_in_stage,
)
from healthseg.statistics.survival import survival_at  # noqa: E402
from healthseg.tools import portfolio_lifecycle  # noqa: E402

QUARTILES = (0.25, 0.5, 0.75)
DRAWS, LEVEL = 200_000, 0.90


def law(rows: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Days in a stage under its planted law."""
    reported = [json.loads(text) for text in rows["parameters"]]
    door = rng.choice(len(reported), DRAWS, p=[study["chance"] for study in reported])
    median, spread = (
        np.array([study[name] for study in reported])[door] for name in ("median_days", "sd_log")
    )
    return np.maximum(1, np.round(median * np.exp(spread * rng.standard_normal(DRAWS))))


def study(folder: str) -> dict[str, float]:
    portfolio, planted = hs.Portfolio.open(folder), Path(folder) / "truth"
    known, until = history(portfolio), portfolio.data_until
    results = portfolio_stage_spells(portfolio, known, until, None)
    exits = results["exit_to"].astype(object)
    curves = time_in_stage(results.assign(exit_to=exits.where(exits != "churned", None)), LEVEL)
    spells = pd.read_parquet(planted / "stage_spells.parquet")
    recorded = set(
        zip(
            results["client_id"],
            results["stage"],
            results["start"].dt.strftime("%Y-%m-%d"),
            strict=True,
        )
    )
    recorded = {row for row in recorded if row[1] != "churned"}
    stays = set(
        zip(
            spells["client_id"],
            spells["stage"],
            spells["entered_at"].astype(str).str[:10],
            strict=True,
        )
    )
    response = portfolio_lifecycle(portfolio)
    reported = {
        (row["client_id"], str(row["since"])[:10])
        for row in response.disagreements
        if row["kind"] == "contract"
    }
    rows = pd.read_parquet(planted / "stage_disagreements.parquet")
    apart = set(zip(rows["client_id"], rows["since"].astype(str).str[:10], strict=True))
    laws, rng = pd.read_parquet(planted / "stage_law.parquet"), np.random.default_rng(7)
    inside = tried = naive_inside = 0
    for stage, law_rows in laws.groupby("stage"):
        if stage not in curves or curves[stage].n < 30:
            continue
        days = law(law_rows, rng)
        finished = np.sort(
            results.loc[(results["stage"] == stage) & results["exit_to"].notna(), "days"]
        )
        for share in QUARTILES:
            day = np.quantile(days, share)
            low, high = (
                survival_at(
                    curves[stage].curve.assign(survival=curves[stage].curve[side].ffill()), [day]
                )[0]
                for side in ("lower", "upper")
            )
            true = float(np.mean(days > day))
            inside, tried = inside + (low <= true <= high), tried + 1
            reach = 1.645 * np.sqrt(true * (1 - true) / len(finished))
            naive_inside += abs(np.mean(finished > day) - true) <= reach
    portfolio.close()
    return {
        "stays": len(recorded & stays) / len(stays | recorded),
        "apart": float(reported == apart),
        "inside": inside,
        "tried": tried,
        "naive": naive_inside,
        "stuck": len(response.stuck_customers),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=250)
    options, results = parser.parse_args(), []
    for seed in range(1, options.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            make_demo(folder, clients=options.clients, seed=seed, events="light")
            results.append(study(folder))
        print(
            f"  seed {seed}: stays equal {results[-1]['stays']:.3f}, disagreements exact {results[-1]['apart']:.0f}, "
            f"law inside {results[-1]['inside']} of {results[-1]['tried']} (naive {results[-1]['naive']}), stuck "
            f"{results[-1]['stuck']:.0f}",
            flush=True,
        )
    table = pd.DataFrame(results)
    covered = table["inside"].sum() / table["tried"].sum()
    print(
        f"stays equal to the day in {int((table['stays'] == 1).sum())} of {len(table)} portfolios; disagreements with "
        f"contracts exact in {int(table['apart'].sum())}; the law inside 90% intervals at {covered:.3f} of "
        f"{int(table['tried'].sum())} quartiles (naive curve of finished stays: "
        f"{table['naive'].sum() / table['tried'].sum():.3f})"
    )
    return int(not ((table["stays"] == 1).all() and table["apart"].all() and covered >= 0.85))


if __name__ == "__main__":
    sys.exit(main())
