"""What clips are, wherever their files lie."""
