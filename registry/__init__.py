"""The hub: who made which version, when, from what, and where it is deployed."""
