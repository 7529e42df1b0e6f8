"""The workspace's registry as commands use it."""
