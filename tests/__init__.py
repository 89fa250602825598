"""Mirrors the source; scenarios/ tells months in a customer's life, faults/ injects real ones."""
