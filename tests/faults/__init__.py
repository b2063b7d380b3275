"""Faults, injected on purpose: what must hold when links, processes and disks fail."""
