"""Any OpenAI-compatible endpoint: the exact bytes of an exchange, read into a completion or a failure."""
