"""Tables from records; reads only the store."""
