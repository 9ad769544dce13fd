"""Runs beside each other: what differs in their settings, and whether their metrics do."""
