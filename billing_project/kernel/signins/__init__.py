"""Signing in: tries and how many are too many, and the devices on which people are signed in."""
