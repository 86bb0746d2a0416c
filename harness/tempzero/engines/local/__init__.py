"""A model of one's own: its weights, the reference in this process, and servers on loopback."""
