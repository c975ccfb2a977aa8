"""What analyze_engagement_patterns finds in portfolios whose truth is known, over many seeds.

    python benchmarks/patterns_truth.py [--seeds 20] [--first 1] [--clients N] [--scenario NAME]... [--events light]

null: portfolios with any pattern reported; default: planted orders, bundles (Jaccard >= .8) and personas (adjusted Rand
index >= .8) that are flagged detectable, and what else is reported of features; effects: features and the order that
keep customers, flagged detectable, and the signs of leaving and staying against the true hazard.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

import healthseg as hs
from healthseg.clustering.bundles import PLUS
from healthseg.clustering.churn_patterns import ORDER, USED
from healthseg.clustering.churn_signs import BY_NAME, SIGNS
from healthseg.clustering.sequences import ARROW
from healthseg.demo import make_demo
from healthseg.tools import analyze_engagement_patterns
from healthseg.tools.patterns.study import Study, all_customers

SAME = 0.8
FEATURES = frozenset({"feature_usage"})


def portfolios(
    scenario: str, options: argparse.Namespace
) -> Iterator[tuple[int, hs.Portfolio, Path]]:
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            make_demo(
                folder, clients=options.clients, seed=seed, scenario=scenario, events=options.events
            )
            portfolio = hs.Portfolio.open(folder)
            yield seed, portfolio, Path(folder)
            portfolio.close()


def planted(folder: Path, name: str) -> list[tuple[set[str], bool]]:
    rows = pd.read_parquet(folder / "truth" / f"{name}.parquet")
    return [(set(json.loads(row.features)), bool(row.detectable)) for row in rows.itertuples()]


def alike(first: set[str], other: set[str]) -> bool:
    return len(first & other) / len(first | other) >= SAME


def null(options: argparse.Namespace) -> bool:
    """No pattern is reported where nothing was planted; anomalies have a number of their own."""
    hits = 0
    for seed, portfolio, _ in portfolios("null", options):
        started = time.perf_counter()
        response = analyze_engagement_patterns(
            portfolio, "all_customers", include_predictions=False
        )
        names = [pattern.pattern_name for pattern in response.identified_patterns]
        hits += bool(names or response.user_personas)
        print(
            f"  null {seed}: {response.testing.hypotheses} tried, reported {names}, {len(response.user_personas or [])} "
            f"personas, {time.perf_counter() - started:.1f} s",
            flush=True,
        )
    print(
        f"null: {hits} of {options.seeds} portfolios report any pattern (at most {max(1, options.seeds // 25)})",
        flush=True,
    )
    return hits <= max(1, options.seeds // 25)


def default(options: argparse.Namespace) -> bool:
    """Orders, bundles and personas: recovered of those detectable, and reported without having been planted."""
    results, of, right, reported = 0, 0, 0, 0
    for seed, portfolio, folder in portfolios("default", options):
        study = Study.of(portfolio, all_customers(portfolio, portfolio.as_of(), 90), FEATURES)
        rows = study.judged[study.judged["passes"]]
        output = {
            kind: [set(key.split(mark)) for key in rows.loc[rows["kind"] == kind, "key"]]
            for kind, mark in (("sequence", ARROW), ("bundle", PLUS))
        }
        truth = {"sequence": planted(folder, "sequences"), "bundle": planted(folder, "bundles")}
        for kind in truth:
            sure = [features for features, detectable in truth[kind] if detectable]
            results, of = (
                results + sum(any(alike(bundle, two) for two in output[kind]) for bundle in sure),
                of + len(sure),
            )
        known = [features for kind in truth.values() for features, _ in kind]
        all_told = output["sequence"] + output["bundle"]
        right += sum(any(bundle <= features for features in known) for bundle in all_told)
        reported += len(all_told)
        agreement = _personas(study, folder)
        results, of = results + (agreement >= SAME), of + 1
        print(f"  default {seed}: {output}, personas' agreement {agreement:.2f}", flush=True)
    print(
        f"default: {results} of {of} detectable recovered (90%), {reported - right} of {reported} reported were not "
        "planted (at most 10%)",
        flush=True,
    )
    return results >= 0.9 * of and reported - right <= 0.1 * reported


def _personas(study: Study, folder: Path) -> float:
    labels = study.personas[0].labels
    if labels is None:
        return 0.0
    truth = pd.read_parquet(folder / "truth" / "users.parquet").set_index(["client_id", "user_id"])[
        "persona"
    ]
    own = truth.reindex(labels.index)
    known = own.notna().to_numpy()
    return adjusted_rand_score(labels.to_numpy()[known], pd.factorize(own[known])[0])


def effects(options: argparse.Namespace) -> bool:
    """What keeps customers: recovered of the causes that are detectable, and named beside them.

    Every feature that is used has a small effect in these portfolios, since breadth is a driver of leaving: the hazard
    ratios of all features that were tried are held against their true ones, which their 95% intervals should hold.
    """
    results, of, wrong, reported, covered, tried = 0, 0, 0, 0, 0, 0
    signs = np.zeros(4, dtype=int)
    for seed, portfolio, folder in portfolios("effects", options):
        study = Study.of(portfolio, all_customers(portfolio, portfolio.as_of(), 90), FEATURES)
        habits = study.judged[study.judged["kind"] == "habit"].set_index("key")
        rows = habits[habits["passes"] & (habits["lift"] < 1)]
        truth = pd.read_parquet(folder / "truth" / "feature_effects.parquet")
        sure = (
            USED + truth.loc[(truth["role"] == "cause") & truth["detectable"], "feature"]
        ).tolist()
        causes = (USED + truth.loc[truth["role"] == "cause", "feature"]).tolist()
        orders = [features for features, _ in planted(folder, "sequences")]
        by_order = [
            key
            for key in rows.index
            if key.startswith(ORDER)
            and any(set(key.removeprefix(ORDER).split(ARROW)) <= order for order in orders)
        ]
        results, of = results + sum(key in rows.index for key in sure), of + len(sure)
        wrong += sum(key not in causes and key not in by_order for key in rows.index)
        reported += len(rows)
        inside = _holds_truth(habits, truth[~truth["feature"].isin(set().union(*orders))])
        covered, tried = covered + int(inside.sum()), tried + len(inside)
        signs += _signs(study, folder)
        print(f"  effects {seed}: {rows.index.tolist()}", flush=True)
    print(
        f"effects: {results} of {of} detectable recovered (90%), {wrong} of {reported} reported are no cause "
        f"(at most 10%); {covered} of {tried} intervals of features hold the true hazard ratio, breadth included "
        f"({covered / max(tried, 1):.3f}; 0.95 is stated)",
        flush=True,
    )
    print(
        f"signs of leaving and staying: {signs[0]} of {signs[1]} whose metrics drive the hazard found (90%), "
        f"{signs[2]} of {signs[3]} reported foretell nothing (at most 10%)",
        flush=True,
    )
    return (
        results >= 0.9 * of
        and wrong <= 0.1 * reported
        and signs[0] >= 0.9 * signs[1]
        and signs[2] <= 0.1 * signs[3]
    )


def _signs(study: Study, folder: Path) -> tuple[int, int, int, int]:
    """Signs of leaving and staying: those of a driver of the true hazard that were found, of how many; and of what was
    reported, what does not foretell: the true hazard after it is less than a quarter off that without it."""
    months, rows = (
        study.months,
        study.judged[study.judged["kind"].isin(["risk", "success"])].set_index("key"),
    )
    hazard = pd.read_parquet(
        folder / "truth" / "hazard.parquet", columns=["client_id", "step_start", "h_true"]
    )
    scenarios_asked = pd.DataFrame(
        {
            "client_id": months["client_id"].astype(str),
            "place": np.arange(len(months)),
            "date": pd.to_datetime(months["date"]).astype("datetime64[ns]"),
        }
    )
    hazard = hazard.assign(
        client_id=hazard["client_id"].astype(str),
        date=pd.to_datetime(hazard["step_start"]).astype("datetime64[ns]"),
    )
    true = pd.merge_asof(
        scenarios_asked.sort_values("date"), hazard.sort_values("date"), on="date", by="client_id"
    )
    true = true.sort_values("place")["h_true"].to_numpy(dtype=float)
    terms = set(pd.read_parquet(folder / "truth" / "hazard_terms.parquet")["metric"])
    drivers = [sign.name for sign in SIGNS if {metric for metric, _, _ in sign.parts} <= terms]
    passing = rows.index[rows["passes"]]
    lifts = {
        name: np.nanmean(true[(shown := BY_NAME[name].shown(months, study.settings)) == 1])
        / np.nanmean(true[shown == 0])
        for name in passing
    }
    wrong = sum(
        (lift - 1) * (rows.loc[name, "lift"] - 1) <= 0 or 0.8 < lift < 1.25
        for name, lift in lifts.items()
    )
    return sum(name in passing for name in drivers), len(drivers), wrong, len(passing)


def _holds_truth(habits: pd.DataFrame, truth: pd.DataFrame) -> pd.Series:
    """Whether the interval of each feature that could be tried holds its true hazard ratio."""
    known = truth.assign(key=USED + truth["feature"]).set_index("key")
    known = known[known.index.isin(habits.index)]
    true = np.exp(known["log_hr"] + known["breadth_log_hr"])
    rows = habits.loc[known.index]
    return (rows["hazard_lower"] <= true) & (true <= rows["hazard_upper"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--clients", type=int)
    parser.add_argument("--events", default="light")
    parser.add_argument("--scenario", action="append", choices=("null", "default", "effects"))
    options = parser.parse_args()
    tests = {"null": null, "default": default, "effects": effects}
    return 0 if all([tests[name](options) for name in options.scenario or tests]) else 1


if __name__ == "__main__":
    sys.exit(main())
