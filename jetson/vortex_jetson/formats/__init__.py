"""What publisher and robot agree on: documents that are read strictly."""
