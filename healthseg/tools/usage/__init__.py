"""What a customer's usage, and the book's, is answered with."""
