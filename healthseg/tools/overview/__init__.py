"""What comes first: next actions of all customers, the board's figures."""
