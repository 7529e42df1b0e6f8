"""The report: the registry as a folder of pages that opens anywhere, without server, script or network."""
