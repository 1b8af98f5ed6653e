"""The one error of this package."""

from trimaran.errors import TrimaranError


class BenchError(TrimaranError):
    """The measurement cannot be done, or could not be believed; says why in one line."""
