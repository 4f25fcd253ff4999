"""The ports on one machine: SQLite and files."""
