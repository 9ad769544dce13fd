"""The version, alone in a file so that nothing imports the Python face to name it."""

__version__ = "0.1.0"
