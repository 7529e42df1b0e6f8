"""Hooks: whom the workspace tells of events, how, and what became of it."""
