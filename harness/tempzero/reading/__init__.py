"""A run and a reference in, how every token of every response stands under that reference out."""
