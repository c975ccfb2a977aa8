"""Mixpanel's raw event export as a portfolio's events: optional (``healthseg[mixpanel]``), imported when used."""
