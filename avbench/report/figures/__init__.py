"""The figures of the papers and of sweeps, from the records: one file each, with ``CARD`` and ``draw``."""
