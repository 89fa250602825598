"""Checks of the books that the ground answers for."""
