"""COUNTED: measures over spans, and the panel made of them."""
