"""Small sets with one fault each, and honest ones, made by code from the synthetic worlds: what the data gate is measured on."""
