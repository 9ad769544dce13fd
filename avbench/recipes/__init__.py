"""How weights come about, as data."""
