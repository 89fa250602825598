"""The console: pages and commands that look across all apps."""
