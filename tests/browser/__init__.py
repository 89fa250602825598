"""Stories of people at work, told by a browser against a real server on the demo's data."""
