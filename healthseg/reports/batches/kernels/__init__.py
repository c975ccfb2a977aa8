"""Kernels that are forked from one process which has imported everything, one for each notebook."""
