"""What a customer's usage, and the portfolio's, is answered with."""
