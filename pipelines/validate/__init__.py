"""`vortex validate`: run the data gate on a data set and remember the answer, which training asks for."""
