"""What notebooks share: profiles, the store and its recipes, rows, a notebook's beginning."""
