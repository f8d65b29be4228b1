"""What the store raises: foreign exceptions of the database and the disk go no further than this room."""


class StoreError(Exception):
    """Something about the store; the message is for the operator."""


class NotFoundError(StoreError):
    """There is no such thing; the message names it."""


class ConflictError(StoreError):
    """It exists already, or its state does not allow this."""


class UnavailableError(StoreError):
    """The database is locked, the disk is full or unreadable: nothing was changed; try again later."""
