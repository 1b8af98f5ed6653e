"""One node as a process, and the real clock, chance, network and threads under its broker."""
