"""The library's order of things: a run from its configuration to its end, then open, analyse, judge, report, claim."""
