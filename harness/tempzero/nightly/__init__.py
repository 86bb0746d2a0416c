"""A providers.yaml in, one night decided, on file and told out. Whatever kills it, calling it again finishes the night.

job       lock, run, compare, decide, write, tell: each step leaves a file and is skipped where the file is there
locking   one at a time
past_records  records of earlier days -> their nights, by the same rule
proving   a changed provider -> an evidence bundle of tonight against its baseline

Import from these; the wing itself imports nothing, so that reading a history starts no engine.
"""
