"""What a page is made of, and what becomes of it: HTML, PDF, CSV, the index."""
