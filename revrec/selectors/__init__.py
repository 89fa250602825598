"""Reads of the books; nothing here writes."""
