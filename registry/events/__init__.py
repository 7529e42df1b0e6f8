"""What the ledger records. A new kind of event is a new class in the module of what it is about; all are loaded with the package."""

from registry.events import channel, data, device, version  # noqa: F401 (each class enters itself)
