"""The outbox: messages to the outside, delivered at least once, or their reason recorded."""
