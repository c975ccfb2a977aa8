"""How a customer came to its stage, how long that lasts, what the next one asks for: one customer, or the portfolio."""
