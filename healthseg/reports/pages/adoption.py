"""The pages of feature adoption: one customer's, and the whole portfolio's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from healthseg.charts.adoption import STAGES as FUNNEL_STAGES
from healthseg.reports.pages.common import (
    CUSTOMER_ABOUT,
    FIRST_ACTIONS,
    actions_section,
    portfolio_about,
)
from healthseg.reports.spec import (
    Block,
    Card,
    Cell,
    Chart,
    Columns,
    Fold,
    Heading,
    Missing,
    Note,
    Page,
    Points,
    Row,
    Section,
    Table,
)
from healthseg.rules import listed

if TYPE_CHECKING:
    from healthseg.tools.adoption.result import FeatureAdoption, PortfolioAdoption

METHOD = (
    "Adopted means {rule}; the denominator is what is released and entitled at the end of the day",
    "Times are Kaplan–Meier medians: what is not adopted yet counts with the days so far",
    "Effects on retention are the portfolio’s, measured at quarter ends on the 90 days after them",
)
METHOD_FACTS = {
    "Period": "{analysis_period_days:number day}",
    "Category": "{feature_category:words}",
}
UNITS = "Units are {adoption_funnel.unit}; each stage includes the next"
NO_FUNNEL = Missing("The funnel", "adoption_funnel", "not requested")


def _stage(row: Row) -> str:
    """A stage of the funnel, by the chart's name for it."""
    return FUNNEL_STAGES[row["stage"]]


STAGES: Columns = {
    "Stage": _stage,
    "Pairs": "units:number",
    "Of all": Cell("share:percent", bar=True),
    "Of the stage before": "of_before:percent",
}


NEXT_FEATURES = Points(
    "recommendations",
    "{recommended_actions:two_steps}",
    title="{feature:Words}",
    under="{reason:prose}",
    ordered=True,
)


def _next_blocks(adoption: FeatureAdoption | PortfolioAdoption) -> tuple[Block, ...]:
    """The features to promote, and once what telling customers of a feature brought, or why that is unknown."""
    why = "$.recommendations[*].expected_impact"
    if why in adoption.not_measured:
        return NEXT_FEATURES, Missing("The expected impact", why=why)
    known = [at for at, part in enumerate(adoption.recommendations) if part.expected_impact]
    if not known:
        return (NEXT_FEATURES,)
    effect = f"recommendations[{known[0]}].expected_impact"
    return NEXT_FEATURES, Note(
        (f"Expected of telling customers about a feature: {{{effect}:prose}}",)
    )


def _category(name: str) -> str:
    """A category's name, as a card's."""
    return name.replace("_", " ").capitalize()


# -- one customer ---------------------------------------------------------------------------------


def _customer_cards(adoption: FeatureAdoption) -> tuple[Card, ...]:
    cards = [
        Card(
            _category(name),
            f"{{feature_adoption_summary.{name}.adoption_rate:percent}}",
            f"{{feature_adoption_summary.{name}.adopted_features:number?}} of "
            f"{{feature_adoption_summary.{name}.total_features:number}} adopted",
        )
        for name, category in adoption.feature_adoption_summary.items()
        if category.total_features
    ]
    standing = adoption.benchmark_standing
    if standing is not None and standing.peer_median is not None:
        cards.append(
            Card(
                "Median of the peers",
                "{benchmark_standing.peer_median:percent}",
                "{benchmark_standing.peer_group}, n = {benchmark_standing.n:number}; above "
                "{benchmark_standing.percentile:number}% of them",
            )
        )
    return tuple(cards)


def _depth(adoption: FeatureAdoption) -> tuple[str, ...]:
    """How much of what its users could use was tried, and is used weekly."""
    at = _funnel_rows(adoption)
    if "trial" not in at or "regular_use" not in at or adoption.is_new:
        return ()
    return (
        f"Of all features that its users could use {{frames.funnel[{at['trial']}].share:percent}} were tried and "
        f"{{frames.funnel[{at['regular_use']}].share:percent}} are used weekly",
    )


def _funnel_rows(adoption: FeatureAdoption) -> dict[str, int]:
    """Where in the frame of the funnel each stage of all features is."""
    rows = adoption.frame("funnel").to_dict("records")
    known = {row["stage"]: at for at, row in enumerate(rows) if row["scope"] == "all"}
    return known if adoption.adoption_funnel else {}


def _customer_next(adoption: FeatureAdoption) -> tuple[Block, ...]:
    if adoption.notice:
        return ()
    barriers = Points(
        "low_adoption_features",
        "{barriers:all_words}",
        title="{feature:Words}",
        heading="Barriers",
        where=lambda feature: feature["barriers"],
    )
    if adoption.recommendations:
        # what to do names the share of peers: the reason beneath would say it again
        _, *effect = _next_blocks(adoption)
        return replace(NEXT_FEATURES, under=""), *effect, barriers
    why = "its peers adopted nothing more, or too few peers are known"
    return (Missing("A next feature", reason=why),)


FUNNEL = Chart(
    "funnel",
    Table("frames.funnel", STAGES, label="stages", where=lambda stage: stage["scope"] == "all"),
    needs="adoption_funnel",
)
OWN_FEATURES = Table(
    "feature_details",
    {
        "Feature": "feature_name:Words",
        "Category": "feature_category:words",
        "Of active users": Cell("adoption_rate:percent", bar=True),
        "Users": "users:number",
        "Active days of a typical user": "median_active_days:number",
        "Days to first use": "average_time_to_first_use_days:number",
    },
    label="features",
)


def _used(adoption: FeatureAdoption) -> tuple[Block, ...]:
    """Each feature; of a new customer only those in use, since all others are at zero."""
    if adoption.is_new:
        return (replace(OWN_FEATURES, where=lambda row: row["users"]),)
    return (Chart("features", OWN_FEATURES),)


CUSTOMER = Page(
    tool="track_feature_adoption",
    kind="Customer feature adoption",
    summary="What one customer uses of what it pays for, what it could adopt next, and how fast it is "
    "compared with others.",
    title="{customer_name}",
    about=(CUSTOMER_ABOUT,),
    cards=_customer_cards,
    sections=(
        actions_section("next_actions", "features", "training"),
        Section(
            "used",
            "How much of what it pays for is in use?",
            (
                "It has adopted {feature_adoption_summary[*].adopted_features:total} of "
                "{feature_adoption_summary[*].total_features:total} features that it can use",
            ),
            _used,
        ),
        Section(
            "depth",
            "How far do users get with a feature?",
            _depth,
            lambda adoption: () if adoption.is_new else (NO_FUNNEL, FUNNEL),
        ),
        Section(
            "next",
            "Which feature comes next?",
            blocks=_customer_next,
        ),
        Section(
            "fast",
            "How fast does it adopt, compared with others?",
            blocks=lambda adoption: () if adoption.is_new else (Chart("time_to_adopt"),),
        ),
    ),
    method=METHOD,
    method_facts=METHOD_FACTS,
)


# -- the portfolio --------------------------------------------------------------------------------


def _portfolio_cards(adoption: PortfolioAdoption) -> tuple[Card, ...]:
    cards = [
        Card(
            _category(name),
            f"{{feature_adoption_summary.{name}.adoption_rate:percent}}",
            f"a customer adopted {{feature_adoption_summary.{name}.adopted_features:number.1}} of "
            f"{{feature_adoption_summary.{name}.total_features:number.1}} on average",
        )
        for name in adoption.feature_adoption_summary
    ]
    weekly = _funnel_rows(adoption).get("regular_use")
    if weekly is not None:
        share = f"{{frames.funnel[{weekly}].share:percent}}"
        cards.append(
            Card(
                "Used every week",
                share,
                "of the features that a customer could use, by one user or more",
            )
        )
    if adoption.abandoned:
        of = "of {abandoned[*].adopters:total} adoptions followed from their first day"
        cards.append(Card("Dropped", "{abandoned[*].abandoned:total}", of))
    return tuple(cards)


BARRIERS_SHOWN = 3


def _barriers(feature: Row) -> str:
    """How many adopted a feature, and the three most frequent barriers."""
    shown = range(min(BARRIERS_SHOWN, len(feature["barriers"] or ())))
    barriers = ", ".join(f"{{barriers[{at}]:words}}" for at in shown) or "no barrier is known"
    return f"little adopted ({{adoption_rate:percent}}); barriers: {barriers}"


def _retention(adoption: PortfolioAdoption) -> tuple[str, ...]:
    if adoption.correlation_analysis is None:
        return ()
    significant = int(adoption.frame("effects")["found"].fillna(False).sum())
    features = "One feature is" if significant == 1 else f"{significant} features are"
    if not significant:
        features = "No single feature is"
    return (
        f"{features} clearly tied to retention once similar customers are compared; it does not show what would happen "
        "if more customers adopted one",
    )


def _adopted(adoption: PortfolioAdoption) -> tuple[str, ...]:
    """The least adopted features; the picture's title names the most adopted beside the least."""
    rates = [
        (row["rate"], at)
        for at, row in enumerate(_features(adoption))
        if row["rate"] == row["rate"]
    ]
    if len(rates) < 2:
        return ("Adoption is not measured",)
    last = [f"frames.features[{at}]" for _, at in sorted(rates)[:3]]
    names = listed(f"{{{row}.feature:words}}" for row in last)
    shares = listed(f"{{{row}.rate:percent}}" for row in last)
    return (f"Adopted least are {names}: {shares} of the customers that could use them",)


def _features(adoption: PortfolioAdoption) -> list[dict[str, Any]]:
    return adoption.frame("features").to_dict("records")


def _fast(adoption: PortfolioAdoption) -> tuple[str, ...]:
    """Which features half of the customers adopted soonest and latest, and of how many half never did."""
    known = [
        (detail.time_to_adopt.days, at)
        for at, detail in enumerate(adoption.feature_details)
        if detail.time_to_adopt.days is not None
    ]
    if len(known) < 2:
        return ()
    first, last = (f"feature_details[{at}]" for _, at in (min(known), max(known)))
    return (
        f"Half of the customers adopt {{{first}.feature_name:words}} by day {{{first}.time_to_adopt.days:number}}, "
        f"{{{last}.feature_name:words}} only by day {{{last}.time_to_adopt.days:number}}",
    )


def _how_far(adoption: PortfolioAdoption) -> tuple[str, ...]:
    """Where the funnel loses most."""
    at = _funnel_rows(adoption)
    steps = ("awareness", "first_use", "regular_use")
    if not all(step in at for step in steps):
        return ()
    aware, used, weekly = (f"{{frames.funnel[{at[step]}].share:percent}}" for step in steps)
    return (
        f"Customers know of {aware} of the features they could use and have used {used} on two days or more; they use "
        f"{weekly} every week: the step to regular use loses most",
    )


def _abandoned(adoption: PortfolioAdoption) -> tuple[str, ...]:
    rows = adoption.abandoned
    if not any(row["abandoned"] for row in rows):
        return ("No feature was dropped",) if rows else ()
    worst = max(
        range(len(rows)), key=lambda at: rows[at]["abandoned"] / max(rows[at]["adopters"], 1)
    )
    row = f"abandoned[{worst}]"
    return (
        f"{{{row}.feature:Words}} is dropped most often: {{{row}.abandoned:number}} of the "
        f"{{{row}.adopters:number customer}} followed from the day they adopted it stopped using it, of which "
        f"{{{row}.readopted:number}} took it up again",
    )


def _paths(adoption: PortfolioAdoption) -> tuple[str, ...]:
    evidence = adoption.pattern_evidence
    if not adoption.adoption_patterns:
        known = evidence is not None and evidence.reason
        return ("{pattern_evidence.reason:sentence}" if known else "No stable groups of customers",)
    return (
        "Of the {pattern_evidence.customers:number customer} followed through their first 90 days with features, "
        "{adoption_patterns[0].percentage:number}% take the path “{adoption_patterns[0].pattern:lower}”",
    )


def _promote(adoption: PortfolioAdoption) -> tuple[str, ...]:
    if not adoption.recommendations:
        return ("No feature is adopted far less than it could be",)
    known = [at for at, part in enumerate(adoption.recommendations) if part.expected_impact]
    impact = f"recommendations[{known[0]}].expected_impact_detail" if known else ""
    return (
        "{recommendations[0].feature:Words} comes first: {recommendations[0].current_adoption:percent} of the customers "
        "that could use it have adopted it"
        + (
            ", {recommendations[0].target_adoption:percent} in the tiers that use it most"
            if adoption.recommendations[0].target_adoption is not None
            else ""
        ),
        f"Telling customers of a feature has added {{{impact}.lower_percentage_points:number}} to "
        f"{{{impact}.upper_percentage_points:number}} points of adoption"
        if impact
        else "",
    )


FEATURES = Table(
    "frames.features",
    {
        "Feature": Cell("feature:Words", under="{category:words}"),
        "Adopted": Cell("rate:percent", bar=True),
        "Customers": "adopted:number",
        "Could use it": "customers:number",
        "Events of an adopter": "events_per_adopter:number",
        "Of its users": "user_share:percent",
        "CSAT": "satisfaction:number.1",
    },
    label="features",
)

PROMOTE = Table(
    "recommendations",
    {
        "Feature": "feature:Words",
        "Adopted": Cell("current_adoption:percent", bar=True),
        "What to do first": "{recommended_actions[0]:prose}",
    },
    label="features",
)


EFFECTS = Table(
    "frames.effects",
    {
        "Feature": "name:Words",
        "Adjusted": "adjusted:number.2",
        "At least": "lower:number.2",
        "At most": "upper:number.2",
        "q": "q:number.2",
        "Raw": "raw:number.2",
        "Odds of churn ×": "odds_ratio:number.2",
        "Odds at least": "odds_lower:number.2",
        "Odds at most": "odds_upper:number.2",
        "n": "n:number",
    },
    label="features",
)


PORTFOLIO = Page(
    tool="track_feature_adoption",
    kind="Portfolio feature adoption",
    summary="Which features are adopted and how deep, how long that takes, what goes with retention, "
    "what is abandoned.",
    title="The portfolio’s features",
    about=(portfolio_about,),
    cards=_portfolio_cards,
    sections=(
        Section(
            "next_actions",
            "What to do next?",
            blocks=(FIRST_ACTIONS,),
        ),
        Section(
            "adoption",
            "Which features are adopted, and how widely?",
            _adopted,
            (
                Chart("features", FEATURES),
                Heading("Features that more customers should use"),
                Note((lambda adoption: ". ".join(filter(None, _promote(adoption))),)),
                PROMOTE,
                Table(
                    "customers",
                    {
                        "Customer": "name",
                        "Tier": "tier",
                        "Adopted": "{adopted:number} of {entitled:number}",
                        "Share": Cell("rate:percent", bar=True),
                        "ARR": "arr:brief_money",
                    },
                    "Customers that adopt least",
                    "customers",
                    limit=6,
                ),
                Points(
                    "low_adoption_features",
                    _barriers,
                    title="{feature:Words}",
                    heading="Barriers of the least adopted, by the topics of tickets about them",
                ),
            ),
        ),
        Section(
            "fast",
            "How long does adoption take?",
            _fast,
            (
                Chart(
                    "time_to_adopt",
                    Table(
                        "feature_details",
                        {
                            "Feature": "feature_name:Words",
                            "Half adopted it by day": "time_to_adopt.days:number",
                            "Interval": "{time_to_adopt.lower:number} to "
                            "{time_to_adopt.upper:number?not reached}",
                            "Watched": "time_to_adopt.n:number",
                            "Adopted": "time_to_adopt.events:number",
                        },
                        label="features",
                    ),
                ),
            ),
        ),
        Section(
            "funnel",
            "How far do customers get with a feature?",
            _how_far,
            (
                NO_FUNNEL,
                Chart(
                    "funnel",
                    Table("frames.funnel", {"Features": "scope:words", **STAGES}, label="stages"),
                    needs="adoption_funnel",
                ),
            ),
        ),
        Section(
            "retention",
            "Which features go with retention?",
            _retention,
            (
                Missing("Correlations", "correlation_analysis", "not requested"),
                Points("correlation_analysis.detail", "{text:prose}"),
                Fold(
                    "Each feature and retention",
                    (Chart("effects", EFFECTS, needs="correlation_analysis"),),
                ),
            ),
        ),
        Section(
            "abandoned",
            "Which features are dropped?",
            _abandoned,
            (
                Chart(
                    "kept",
                    Table(
                        "abandoned",
                        {
                            "Feature": "feature:Words",
                            "Followed from adoption": "adopters:number",
                            "Dropped it": "abandoned:number",
                            "Took it up again": "readopted:number",
                            "In use after 180 days": Cell("share:percent", bar=True),
                        },
                        label="features",
                    ),
                ),
            ),
        ),
        Section(
            "paths",
            "Which paths do customers take?",
            _paths,
            (
                Table(
                    "adoption_patterns",
                    {
                        "Path": "pattern",
                        "Customers": "{customers:number} ({percentage:number}%)",
                        "What sets it apart": "characteristics:prose",
                        "Half had value by day": "avg_time_to_value:number",
                        "Retained for a year": "retention_rate:percent?not followed so long",
                    },
                    label="paths",
                ),
            ),
        ),
    ),
    method=(
        *METHOD,
        UNITS,
        lambda adoption: (
            "A feature is dropped when nobody at the customer used it for {feature_details[0].kept.silent_days:number day}"
            if adoption.feature_details
            else None
        ),
    ),
    method_facts=METHOD_FACTS,
    portfolio=True,
)
