"""GROUPED: finished frames of measures in; groups, with the evidence that they are there, out."""
