"""The papers' tables: their YAML, how cells are filled, and how they are rendered."""
