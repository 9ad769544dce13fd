"""Runs compared: what differs in their settings, and whether their metrics do."""
