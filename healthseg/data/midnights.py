"""Are the midnights of a timestamp column days or instants? One rule for a column of a table, whatever the format."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from healthseg.settings.data import DataSettings

# of so many rows with seconds, one at least has some
_LEAST_ROWS = 20


@dataclass(frozen=True)
class Midnights:
    """How a timestamp column of a table is written, in all of its files: what its midnights are.

    Each value is a date alone (its code ``<stem>_midnight`` is 2), a midnight (1), or has another time of day (0).
    Dates alone and midnights mean the same, whatever the format: calendar days where no value has another time, where
    any is a date alone, or where midnights are far more than the other whole hours; else instants.
    """

    rows: int = 0
    midnights: int = 0
    dates: int = 0
    whole_hours: int = 0
    seconds: int = 0  # rows with a second, or a part of one

    @property
    def whole_minutes(self) -> bool:
        """Whether the column knows no seconds: two rows of one minute are then not one instant."""
        return self.rows >= _LEAST_ROWS and self.seconds == 0

    def __add__(self, other: Midnights) -> Midnights:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Midnights(*(own + another for own, another in pairs))

    def are_days(self, settings: DataSettings) -> bool:
        least = max(settings.midnight_days_min_rows, settings.midnight_days_min_share * self.rows)
        many = self.midnights >= least and self.midnights > self.whole_hours
        return bool(self.dates) or self.midnights == self.rows or many

    def note(self, name: str, settings: DataSettings) -> str | None:
        """How midnights are read, in words; None where there is none to speak of."""
        days = self.midnights + self.dates
        if self.rows and days == self.rows:
            return f"{name} has no time of day in any row and is read as calendar days"
        if days and self.are_days(settings):
            why = (
                f"{self.dates:,} are dates alone" if self.dates else "midnight is far too frequent"
            )
            return f"{name}: {days:,} of {self.rows:,} rows are at midnight and are read as calendar days: {why}"
        if self.midnights > self.rows * settings.midnight_days_min_share:
            return f"{name}: {self.midnights:,} of {self.rows:,} rows are at midnight and are read as instants"
        return None

    @staticmethod
    def counts(name: str) -> str:
        """The five counts of a timestamp column of a relation of checked rows."""
        stamp, stem = f'"{name}"', name.removesuffix("_at")
        return (
            f"COUNT({stamp}) AS stamps, COUNT(*) FILTER ({stamp} IS NOT NULL AND {stem}_midnight = 1) AS midnights, "
            f"COUNT(*) FILTER ({stamp} IS NOT NULL AND {stem}_midnight = 2) AS dates, "
            f"COUNT(*) FILTER ({stem}_midnight = 0 AND {stamp} = DATE_TRUNC('hour', {stamp})) AS whole_hours, "
            f"COUNT(*) FILTER ((EPOCH_US({stamp}) // 1000000) % 60 <> 0) AS seconds"
        )
