"""From a registered version to a device: exports and promotion."""
