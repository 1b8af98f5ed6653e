"""Straight-line codecs for the APIs that are asked for often or at a failover.

One module per API with `decode_request(reader, version)` and `encode_response(writer, version,
message)`; `codec` checks the version before and adds the headers. They are compared with two
foreign implementations for every version. Importing them costs nothing worth mentioning, while the
schemas behind `schema_codec` take a good part of a second.

Does not: serve rare APIs (`schema_codec` does).
"""
