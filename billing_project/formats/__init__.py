"""How the back office writes dates: ISO 8601, in UTC, the same for everybody."""
