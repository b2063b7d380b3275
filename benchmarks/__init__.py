"""How fast it is, each case beside its peer in one run: `make bench`."""
