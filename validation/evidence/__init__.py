"""Reports of how a version did outside of Vortex: a file a kind, each with its JSON schema, and the parity that a closed loop is judged by."""
