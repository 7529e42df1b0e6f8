"""What a manifest must look like, what its frames must look like, and which gates say no."""
