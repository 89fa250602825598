"""Reads of usage; nothing here writes."""
