"""The exam of a domain: which sets and frames judge its channels, what versions answer there, and what must not have been seen before."""
