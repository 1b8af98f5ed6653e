"""Names of headers that nodes and those who ask them agree on.

Does not: import anything, for the command line needs a name and no server.
"""

NODE_HEADER = "trimaran-node"
"""In every answer: which node gave it."""
TOKEN_HEADER = "trimaran-token"
"""With what breaks nodes of a local cluster: the token of its run."""
