"""GROUPED: finished frames of metrics in; groups, with the evidence that they are there, out."""
