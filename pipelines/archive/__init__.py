"""The registry as an open folder: written, checked, and put into a new workspace again."""
