"""Alerts of the whole book: evaluated, delivered, shown."""
