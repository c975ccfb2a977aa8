"""Finding customers, and looking up what a metric or a figure means."""
