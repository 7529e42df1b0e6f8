"""An exported file of a version: written, and proven to answer as the trained student does."""
