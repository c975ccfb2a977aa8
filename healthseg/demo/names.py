"""Words of the simulated world: companies, people, features, plans, kinds of everything."""

from __future__ import annotations

FIRST = (
    "Alder",
    "Birch",
    "Cobalt",
    "Dune",
    "Ember",
    "Fjord",
    "Granite",
    "Harbor",
    "Indigo",
    "Juniper",
    "Kestrel",
    "Lumen",
    "Meridian",
    "Nimbus",
    "Orchard",
    "Pinnacle",
    "Quarry",
    "Ridge",
    "Saffron",
    "Tundra",
    "Umbra",
    "Verdant",
    "Willow",
    "Yarrow",
    "Zephyr",
    "Basalt",
    "Cedar",
    "Delta",
    "Elm",
    "Falcon",
)
SECOND = (
    "Analytics",
    "Foods",
    "Freight",
    "Health",
    "Insurance",
    "Labs",
    "Logistics",
    "Manufacturing",
    "Media",
    "Partners",
    "Retail",
    "Robotics",
    "Schools",
    "Systems",
    "Textiles",
    "Travel",
    "Utilities",
    "Works",
)
LEGAL = ("GmbH", "Ltd", "Inc", "AB", "SA", "BV", "Group", "Co")
INDUSTRIES = (
    "software",
    "manufacturing",
    "financial_services",
    "healthcare",
    "retail",
    "education",
    "logistics",
    "media",
)
INDUSTRY_SHARES = (0.22, 0.16, 0.14, 0.12, 0.12, 0.08, 0.09, 0.07)
# region, zone, share of customers
PLACES = (
    ("Europe", "Europe/Berlin", 0.17),
    ("Europe", "Europe/London", 0.13),
    ("Europe", "Europe/Madrid", 0.07),
    ("Europe", "Europe/Stockholm", 0.06),
    ("North America", "America/New_York", 0.18),
    ("North America", "America/Chicago", 0.10),
    ("North America", "America/Los_Angeles", 0.10),
    ("Latin America", "America/Sao_Paulo", 0.05),
    ("Asia Pacific", "Asia/Singapore", 0.05),
    ("Asia Pacific", "Asia/Kolkata", 0.04),
    ("Asia Pacific", "Australia/Sydney", 0.05),
)
PLANS = ("starter", "growth", "enterprise")
CSMS = (
    "Ada Lindqvist",
    "Bruno Castellan",
    "Chiara Vogt",
    "Dmitri Hale",
    "Elena Okafor",
    "Farid Noor",
    "Greta Amsel",
    "Hugo Marchetti",
)
CSM_TIERS = (
    "Micro",
    "SMB",
    "SMB",
    "Mid-Market",
    "Mid-Market",
    "Corporate",
    "Enterprise",
    "Enterprise",
)
ROLES = ("admin", "manager", "analyst", "member")
PERSONAS = ("builder", "reviewer", "operator", "integrator")
# feature, category, day of release relative to the portfolio's start, recommended position
FEATURES = (
    ("dashboards", "core", -2000, 1),
    ("task_lists", "core", -2000, 2),
    ("search", "core", -2000, 3),
    ("comments", "core", -1500, 4),
    ("file_sharing", "core", -1500, 5),
    ("reports", "advanced", -1200, 6),
    ("workflow_builder", "advanced", -1000, 7),
    ("scheduled_exports", "advanced", -900, 8),
    ("custom_fields", "advanced", -900, 9),
    ("calendar_sync", "advanced", 45, 10),
    ("audit_trail", "premium", -700, 11),
    ("api_console", "premium", -700, 12),
    ("capacity_planner", "premium", 60, 13),
    ("goal_tracking", "premium", 90, 14),
    ("forecast_view", "premium", 120, 15),
)
FEATURE = {name: place for place, (name, *_) in enumerate(FEATURES)}
EVENT_NAMES = ("view", "create", "edit", "share", "export")
TOPICS = ("login", "data_import", "performance", "billing", "integration", "how_to")
SEVERITIES = ("low", "medium", "high", "critical")
CHANNELS = ("email", "in_app", "webinar", "direct_csm")
CONTENTS = ("product_tips", "release_news", "training", "renewal", "event_invitation")
BLOCKERS = ("security_review", "data_quality", "no_owner", "integration")
INTERVENTIONS = ("training", "check_in_call", "executive_review")
