"""Signing in and out of the back office, and what a person sees of their own log-in."""
