"""Attacks by what values mean: circles, spans without an end, numbers, expressions, parameters, bytes of no language."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks._attacks import CUSTOMERS, Attack, Scene

_EVENTS = "client_id,user_id,occurred_at,feature\n" + "".join(
    f"acme,u{n % 3},2025-0{1 + n // 28}-{1 + n % 28:02}T09:00:00,f{n % 4}\n" for n in range(150)
)
# by name of the attack: files beside customers and events, and the tool that reads them
TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "contracts that replace each other": (
        "segment_by_value_tier",
        {"contracts.csv": "client_id,starts_on,ends_on,arr,contract_id,replaces\nacme,2025-01-01,2026-01-01,1,a,b\nacme,2025-02-01,2026-02-01,2,b,c\nacme,2025-03-01,2026-03-01,3,c,a\nacme,2025-03-01,2026-03-01,3,d,d\n"},
    ),
    "customers that own each other": (
        "portfolio_board",
        {"customers.csv": "client_id,signup_date,parent_id\nacme,2025-01-01,b\nb,2025-01-01,c\nc,2025-01-01,acme\nd,2025-01-01,d\n"},
    ),
    "milestones that need each other": (
        "track_adoption_milestones",
        {"milestones.csv": "milestone_id,name,category,target_days,depends_on\na,A,x,10,c\nb,B,x,20,a\nc,C,x,30,b\nd,D,x,5,d\n"},
    ),
    "milestones in a chain of 5,000": (
        "track_adoption_milestones",
        {"milestones.csv": "milestone_id,name,category,target_days,depends_on\n" + "".join(f"m{n},M{n},x,{n},m{n + 1}\n" for n in range(5_000))},
    ),
    "milestones that are complete when brackets end": (
        "track_adoption_milestones",
        {"milestones.csv": "milestone_id,name,category,target_days,completes_when\na,A,x,10," + "(" * 900 + "events >= 1" + ")" * 900 + "\nb,B,x,9,__import__('os').system('touch OUTSIDE/written')\nd,D,x,9," + "[" * 5_000 + "\nc,C,x,9,events ** 9 ** 9 ** 9 >= 1\n"},
    ),
    "milestones due in two thousand million days": (
        "track_adoption_milestones",
        {"milestones.csv": "milestone_id,name,category,target_days,required\na,A,x,2000000000,true\nb,B,x,-2000000000,true\nc,C,x,9223372036854775807,true\n"},
    ),
    "holidays of ten thousand years": (
        "analyze_engagement_patterns",
        {"calendar.csv": "starts_on,ends_on,label\n0001-01-01,9999-12-31,a\n2025-12-31,2025-01-01,b\n1900-01-01,,c\n"},
    ),
    "entitlements of ten thousand years": (
        "track_feature_adoption",
        {"entitlements.csv": "client_id,feature,starts_on,ends_on\nacme,f0,0001-01-01,9999-12-31\nacme,f1,2025-12-01,2025-01-01\n", "features.csv": "feature,category,released_on,recommended_position\nf0,x,0001-01-01,9223372036854775807\nf1,y,9999-12-31,-1\n"},
    ),
    "rates of exchange of nothing": (
        "segment_by_value_tier",
        {"customers.csv": "client_id,signup_date,arr,currency\nacme,2025-01-01,100,USD\nb,2025-01-01,1e308,EUR\n", "fx.csv": "currency,on,rate_to_book\nUSD,2025-01-01,0\nEUR,2025-01-01,1e-320\nUSD,2025-02-01,inf\nEUR,2025-02-01,-1e308\n"},
    ),
    "managers with endless hours": (
        "segment_by_value_tier",
        {"customers.csv": "client_id,signup_date,arr,csm_id\nacme,2025-01-01,100,m\n", "csms.csv": 'csm_id,name,tier,capacity_hours,contact\nm,M,SMB,1e308,"a@b.c\r\nBcc: all@b.c"\nn,N,SMB,-1e308,=1+1\no,O,SMB,NaN,<script>\n'},
    ),
    "invoices before they are issued": (
        "calculate_health_score",
        {"invoices.csv": "invoice_id,client_id,amount,issued_on,due_on,paid_on,paid_amount\na,acme,1e308,9999-12-31,0001-01-01,0001-01-01,1e308\nb,acme,1e308,2025-01-01,9999-12-31,,-1e308\nc,acme,-0.0,2025-01-01,2025-01-02,2025-01-01,inf\n"},
    ),
    "tickets resolved before they are opened": (
        "calculate_health_score",
        {"tickets.csv": "ticket_id,client_id,opened_at,resolved_at,first_response_at,csat\na,acme,2025-05-01,0001-01-01,9999-12-31,1e300\nb,acme,2025-05-01,2025-04-01,2025-04-01,-5\n"},
    ),
    "metrics named after our own": (
        "calculate_health_score",
        {"metrics_daily.csv": "client_id,date,metric,value\nacme,2025-05-01,score,1e308\nacme,2025-05-01,monthly_active_users,-1e308\nacme,2025-05-01,__class__,1\nacme,2025-05-01,../../x,1\nacme,2025-05-01,\"a\"\"; DROP VIEW events; --\",1\n"},
    ),
    "changes of fields that are none": (
        "calculate_health_score",
        {"customer_changes.csv": "client_id,field,value,effective_on\nacme,client_id,b,2025-02-01\nacme,__dict__,x,2025-02-01\nacme,arr,1e999,2025-02-01\nacme,timezone,../../etc/passwd,2025-02-01\nacme,signup_date,9999-12-31,2025-02-01\n"},
    ),
    "ids in digits of other scripts": (
        "calculate_health_score",
        {"customers.csv": "client_id,signup_date,arr\nacme,2025-01-01,1\n١٢٣,٢٠٢٥-٠١-٠١,١٢\na\u0301cme,2025-01-01,1\n\u00e1cme,2025-01-01,1\nac\u200bme,2025-01-01,1\nACME,2025-01-01,2\n"},
    ),
    "benchmarks beyond all numbers": (
        "calculate_health_score",
        {"benchmarks.csv": "industry,metric,percentile,value,source\nx,monthly_active_users,1e308,1e308,s\nx,monthly_active_users,-1,nan,s\nx,monthly_active_users,nan,1,s\n"},
    ),
    "users that are older than time": (
        "track_usage_engagement",
        {"users.csv": "user_id,client_id,role,created_at,deactivated_at\nu0,acme,admin,0001-01-01,9999-12-31\nu1,acme,admin,2025-12-01,2024-01-01\nu2,b,admin,,\n"},
    ),
    "ten thousand stages of one minute": (
        "manage_lifecycle_stages",
        {"stage_changes.csv": "client_id,stage,effective_at,recorded_at\n" + "".join(f"acme,{('active', 'churned')[n % 2]},2025-03-01T10:00:00,2025-03-0{1 + n % 9}\n" for n in range(10_000))},
    ),
}  # fmt: skip
# by name of the attack: healthseg.toml
SETTINGS: dict[str, str] = {
    "numbers that are none": "[settings]\nsession_gap_minutes = nan\ndata_until = 2025-05-01\n",
    "a number without an end": "[settings]\nsession_gap_minutes = inf\n",
    "a session of a million years": "[settings]\nsession_gap_minutes = 9223372036854775807\n",
    "a currency that is markup": "[settings]\nreporting_currency = '<script>alert(1)</script>'\n",
    "a lifecycle whose name leads outside": "[settings.lifecycles.'../../outside/x']\nstages = ['a', 'b']\n",
    "names of attributes": "[settings.__class__]\n__init__ = 1\n[settings.model_config]\nextra = 'allow'\n",
    "a date and a time of no zone": "[settings]\ndata_until = 2025-05-01T23:59:60.999999999+23:59\n",
    "a mark of byte order and zero bytes": "\ufeff[settings]\nsession_gap_minutes = 30\n\x00\n",
    "half a character": '[settings]\nreporting_currency = "\\ud800"\n',
}
# by name of the attack: words of a command
PARAMETERS: dict[str, tuple[str, ...]] = {
    "a parameter in 30,000 brackets": ("segment_customers", "--params", '{"segment_type": "custom", "segmentation_criteria":' + "[" * 30_000 + "]" * 30_000 + "}"),
    "a parameter that is no number": ("calculate_health_score", "--params", '{"client_id": "acme", "risk_threshold": NaN, "lookback_period_days": 1e999}'),
    "a whole number of 100,000 digits": ("calculate_health_score", "-p", "client_id=acme", "-p", f"lookback_period_days={'9' * 100_000}"),
    "a day of no calendar": ("calculate_health_score", "-p", "client_id=acme", "--as-of", "99999-99-99"),
    "the last day of time": ("calculate_health_score", "-p", "client_id=acme", "--as-of", "9999-12-31"),
    "an id of bytes of no language": ("calculate_health_score", "-p", "client_id=ac\udcff\udc80me"),
    "an actor of commands for the terminal": ("manage_lifecycle_stages", "-p", "client_id=acme", "-p", "action=get_stage", "--actor", "\x1b]0;evil\x07\u202e"),
    "a rule in 3,000 brackets": ("segment_customers", "--params", '{"segment_type": "custom", "segmentation_criteria": {"rules": [{"name": "a", "when": "' + "(" * 400 + "score >= 0" + ")" * 400 + '"}]}}'),
    "a rule of powers": ("segment_customers", "--params", '{"segment_type": "custom", "segmentation_criteria": {"rules": [{"name": "a", "when": "9**9**9**9 >= score"}]}}'),
    "a rule of the caller's objects": ("segment_customers", "--params", '{"segment_type": "custom", "segmentation_criteria": {"rules": [{"name": "<img src=x onerror=alert(1)>", "when": "().__class__.__bases__[0].__subclasses__()"}]}}'),
    "a rule that is a format": ("segment_customers", "--params", '{"segment_type": "custom", "segmentation_criteria": {"rules": [{"name": "{0.__class__}", "when": "plan == \'%s\' % score"}]}}'),
    "a segment whose name leads outside": ("segment_customers", "--params", '{"segment_type": "custom", "segmentation_criteria": {"rules": [{"name": "../../outside/written", "when": "score >= 0"}]}}'),
}  # fmt: skip
_INJECTED = "x'\n\"\"\"\nimport os\nos.system('touch OUTSIDE/written')\n#"
_REPORT = ("report", "calculate_health_score", "--portfolio", "FOLDER", "--client", "acme", "--workers", "1", "--out", "FOLDER/out")  # fmt: skip


def _files(files: dict[str, str]) -> Callable[[Scene], object]:
    """Customers and events, and these files, in place of them or beside."""

    def build(places: Scene) -> None:
        for name, content in {"customers.csv": CUSTOMERS, "events.csv": _EVENTS, **files}.items():
            places.write(name, places.filled(content).encode("utf-8", "surrogatepass"))

    return build


def _named(name: bytes) -> Callable[[Scene], object]:
    """A file beside the tables whose name is these bytes."""

    def build(places: Scene) -> None:
        _files({})(places)
        with open(bytes(places.folder) + b"/" + name, "wb") as file:
            file.write(CUSTOMERS.encode())

    return build


def _command(tool: str, *words: str) -> tuple[str, ...]:
    of_one = () if tool.startswith(("portfolio", "segment_by")) else ("-p", "client_id=acme")
    scope = ("-p", "analysis_scope=single_customer") if tool.startswith("analyze") else ()
    stage = ("-p", "action=get_stage") if tool.startswith("manage") else ()
    return ("run", tool, "--portfolio", "FOLDER", *of_one, *scope, *stage, *words)


ATTACKS: list[Attack] = [
    *(
        Attack(name, "time", _files(files), _command(tool))
        for name, (tool, files) in TABLES.items()
    ),
    *(
        Attack(f"settings: {name}", "code", _files({"healthseg.toml": text}), _command("calculate_health_score"))
        for name, text in SETTINGS.items()
    ),
    *(
        Attack(name, "code", _files({}), ("run", words[0], "--portfolio", "FOLDER", *words[1:]))
        for name, words in PARAMETERS.items()
    ),
    Attack("a parameter that is a notebook's code", "code", _files({}), (*_REPORT, "-p", f"scorecard={_INJECTED}")),
    Attack("a parameter's name that is code", "code", _files({}), (*_REPORT, "-p", "os.system('touch OUTSIDE/written')=1")),
    Attack("a file's name of bytes of no language", "code", _named(b"invo\xff\xfeices.csv"), ("check", "FOLDER")),
    Attack("a file's name of a command's option", "code", _named(b"--out=..csv"), ("check", "FOLDER")),
    Attack("a portfolio's name of bytes of no language", "code", _files({}), ("check", "FOLDER/\udcff\udcfe")),
]  # fmt: skip
