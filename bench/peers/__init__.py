"""Other systems, measured beside Trimaran on the same machine."""
