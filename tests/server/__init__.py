"""The node's tests; a package because `http` is one."""
