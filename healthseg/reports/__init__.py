"""SHOWN: the command line, the pages, the reports; no arithmetic here."""
