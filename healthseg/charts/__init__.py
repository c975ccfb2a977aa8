"""PICTURES: a finished frame in, an altair chart out; imports nothing else of healthseg."""
