"""What a node knows of its own recent past: samples, incidents, happenings."""
