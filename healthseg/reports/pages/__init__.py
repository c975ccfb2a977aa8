"""The pages: a module for each kind of report, a function for each question of its reader."""
