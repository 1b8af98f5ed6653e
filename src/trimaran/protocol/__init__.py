"""Kafka's protocol: bytes to messages and back, connections without sockets.

`api` is the table of what is spoken, `messages` the data, `codec` the way between frames and
messages (over `wire`, `codecs` for frequent APIs, `schema_codec` for rare ones), `connection` the
framing and the order of answers. Does not: answer anything (`broker.handlers` do).
"""
