"""What a version shows before it enters a stage: evidence, one gate a file, and the stages' lists of rules."""
