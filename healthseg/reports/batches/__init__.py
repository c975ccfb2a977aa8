"""Reports by the thousand: planned, executed in kernels of their own, recorded."""
