"""NYU Depth V2 (Silberman et al., ECCV 2012) in its three layouts: the labelled .mat, png pairs, and raw Kinect dumps."""
