"""From where tables come, to clean rows and the accounting of each row."""
