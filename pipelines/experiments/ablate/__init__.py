"""Paired controls: the same training several times, with one factor changed and nothing else, and what that changes."""
