"""`vortex validate`: run the data gate on a dataset and remember the answer, which training asks for."""
