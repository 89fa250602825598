"""Released migrations on tables that are filled already."""
