"""One file a noun or verb; each is registered in `vortex_cli/app.py`."""
