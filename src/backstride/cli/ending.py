"""How a command ends otherwise than well."""

from __future__ import annotations


class EndedError(Exception):
    """A command's end with a line on stderr and an exit code of its own."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
