"""The main job: a month of real LLM traffic through every stage of the chain."""
