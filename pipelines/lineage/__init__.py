"""Where things came from and where they went: names to nodes, the workspace's graph, a metric along the ancestors, and their pictures."""
