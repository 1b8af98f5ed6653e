"""What all sections of a node's settings share. Does not: know any field."""

from typing import Self

from pydantic import BaseModel, ConfigDict

KIB = 1_024
MIB = 1_024 * KIB
GIB = 1_024 * MIB


class Section(BaseModel):
    """Base of the sections."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )

    def _checked(self, problems: list[str]) -> Self:
        if problems:
            raise ValueError("\n".join(problems))
        return self
