"""Reference packs: what a reference answered to a suite and what else it might have said, in one file."""
