"""What is to be told to the outside, at least once, with the reason where it could not be."""
