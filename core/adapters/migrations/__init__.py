"""The migrations of the SQL records."""
