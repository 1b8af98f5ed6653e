"""sim/checkers."""
