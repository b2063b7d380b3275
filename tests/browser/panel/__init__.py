"""The panel in both front ends, with kernels of other versions of ipykernel."""
