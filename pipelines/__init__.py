"""What is done with data, one file or folder a step, in this order: ingest, label, validate, pack, train, evaluate, export, promote."""
