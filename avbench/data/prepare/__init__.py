"""Videos decoded once, into shards and a manifest."""
