"""Foreign record libraries, imported once; their own import-time warnings are not our business."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kafka.record.default_records  # noqa: F401
