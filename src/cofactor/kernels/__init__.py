"""The numeric kernels of each device; models ask :func:`on` and never branch on a device themselves."""
