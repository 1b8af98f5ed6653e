"""The shapes of bodies and parameters, one module a noun. Within `/v1` fields are only added."""
