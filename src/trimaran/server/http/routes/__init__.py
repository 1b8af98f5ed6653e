"""What the REST API answers, one module a noun; each offers `ENDPOINTS`."""
