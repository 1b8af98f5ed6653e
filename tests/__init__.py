"""Tests; packages where fixtures of that scope are: see each."""
