"""Tests of avbench.tasks; a package, so that another folder may hold a file of the same name."""
