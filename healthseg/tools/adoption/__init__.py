"""What a customer's features, and the portfolio's, are answered with."""
