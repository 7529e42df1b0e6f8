"""A version comes in, is proven and stays, or the one before goes on."""
