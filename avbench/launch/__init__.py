"""Where runs are started: beside each other on this machine."""
