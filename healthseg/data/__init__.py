"""Given: the tables, where they come from, and what is wrong with them."""
