"""The report: one HTML file that needs nothing beside it, from the records of a results folder."""
