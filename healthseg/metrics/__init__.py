"""COUNTED: metrics over spans, and the panel made of them."""
