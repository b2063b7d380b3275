"""The Jupyter server's side: it works while a kernel is busy, dead, or was never there."""
