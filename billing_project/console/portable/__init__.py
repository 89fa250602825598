"""Carry a whole installation elsewhere, and prove that what arrived says the same."""
