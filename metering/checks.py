"""Checks of the books that this app answers for."""
