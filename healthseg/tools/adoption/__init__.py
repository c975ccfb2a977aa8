"""What a customer's features, and the book's, are answered with."""
