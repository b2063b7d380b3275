"""The API of the Jupyter server, as front ends call it."""
