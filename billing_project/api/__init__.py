"""REST API, v1: routing, access, errors; the verbs live in each app."""
