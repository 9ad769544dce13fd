"""From media files to frames, sounds and pictures."""
