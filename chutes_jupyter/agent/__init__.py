"""The program on the worker: standard library only, Python 3.8 or newer."""
