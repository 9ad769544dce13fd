"""The public data sets: what each is, how it is obtained, its official list, and the join with the files on disk."""

from avbench.data.catalogue.entry import DataSet, ListFile, Subset, entry, names

__all__ = ["DataSet", "ListFile", "Subset", "entry", "names"]
