"""What a person types: parse, call one function of `pipelines/` or `registry/`, print."""
