"""Who may use the house, and how the house knows them again."""
