"""How weights are obtained, as data."""
