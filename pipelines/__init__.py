"""The street that data takes, one file or folder a step: ingest, label, validate, pack, train, evaluate, export, promote."""
