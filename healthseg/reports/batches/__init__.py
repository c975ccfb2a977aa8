"""Batches of reports: planned, run by workers that live on, recorded in a manifest."""
