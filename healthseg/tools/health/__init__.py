"""What one customer's health, and the portfolio's, is answered with."""
