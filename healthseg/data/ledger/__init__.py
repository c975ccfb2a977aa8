"""What is recorded, and never changed: who said what, when, of which moment."""
