"""`data/`: datasets as folders of frames, published whole, versioned with DVC, named by what their bytes are."""
