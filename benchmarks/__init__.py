"""What is measured, one command each: `make bench-NAME`. Every benchmark takes `--smoke`, which only shows that it works."""
