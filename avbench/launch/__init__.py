"""Where runs are started: in parallel on this machine."""
