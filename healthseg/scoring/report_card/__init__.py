"""The report card of the score: rebuilt on past dates and held against who churned."""

from healthseg.scoring.report_card.card import ReportCard, report_card

__all__ = ["ReportCard", "report_card"]
