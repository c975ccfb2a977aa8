"""What a ledger on a server holds now, in one word: equal only where not a row was added.

Every row carries a digest that is chained to the one before it, so that the last one of a table tells all of it. It is
asked for without the library that reads and writes the ledger, which takes longer to load than a kept response to find.
"""

from __future__ import annotations

import re

from healthseg.data.ledger.place import LATEST
from healthseg.settings import fingerprint
from healthseg.settings.lifecycle import LedgerPlace, revealed

TABLES = (
    "settings_in_force",
    "segment_runs",
    "stage_events",
    "alerts_raised",
    "outbox",
    "outbox_attempts",
)
NOTHING = "nothing recorded"
_VERSION = "schema_version"
_HEADS = " UNION ALL ".join(
    [
        f"SELECT '{_VERSION}', MAX(version), '' FROM {{schema}}.{_VERSION}",
        *(
            f"(SELECT '{table}', seq, digest FROM {{schema}}.{table} ORDER BY seq DESC LIMIT 1)"
            for table in TABLES
        ),
    ]
)


def watermark(place: LedgerPlace) -> str | None:
    """Changes with every row that is recorded; None where it cannot be told, as of a server that does not answer.

    Why it does not is left to the ledger to say, when it is read. Raises InvalidParameters for an address that names a
    variable which is not set.
    """
    if place.address is None:
        return None
    try:
        import psycopg
        from psycopg import sql
    except ImportError:
        return None
    address = re.sub(
        r"^postgres(ql)?(\+\w+)?://",
        "postgresql://",
        revealed(place.address, "settings.ledger.address"),
    )
    wait = max(2, int(place.busy_seconds))
    try:
        with psycopg.connect(
            address,
            connect_timeout=wait,
            autocommit=True,
            application_name="healthseg",
            options=f"-c statement_timeout={1000 * wait}",
        ) as connection:
            there = connection.execute(
                "SELECT to_regclass(%s)", (f"{place.schema_name}.{_VERSION}",)
            ).fetchone()
            if there == (None,):
                return NOTHING
            heads = sql.SQL(_HEADS).format(schema=sql.Identifier(place.schema_name))
            found = connection.execute(heads).fetchall()
            return fingerprint(sorted(found)) if (_VERSION, LATEST, "") in found else None
    except psycopg.Error:
        return None
