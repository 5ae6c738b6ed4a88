"""How bytes get there: one small protocol, and one file a kind of store."""
