"""Quantities: raw events in, usage windows out."""
