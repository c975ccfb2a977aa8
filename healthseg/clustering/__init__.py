"""Grouped: segments and groups of customers, personas, patterns of use, rhythms and anomalies."""
