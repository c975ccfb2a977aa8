"""Alerts of the whole portfolio: evaluated, delivered, shown."""
