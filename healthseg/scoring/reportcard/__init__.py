"""The report card of the score: rebuilt on past dates and held against who left."""

from healthseg.scoring.reportcard.card import ReportCard, report_card

__all__ = ["ReportCard", "report_card"]
