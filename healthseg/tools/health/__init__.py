"""What one customer's health, and the book's, is answered with."""
