"""What an error of SQLite means for who holds the file: damaged for good, or not to be written just now.

Source: sqlite.org/rescode.html; the low byte is the primary code.
"""

import sqlite3

_PRIMARY = 0xFF
_UNREADABLE = frozenset(
    {
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
        sqlite3.SQLITE_IOERR_DATA,
    }
)
_DAMAGE = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})


def is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether what is in the file is not what was written: garbled, of another form, or of sectors that do not read."""
    if isinstance(error, UnicodeDecodeError):  # SQLite quotes a damaged schema as it is
        return True
    code = _code(error)
    return code in _UNREADABLE or code & _PRIMARY in _DAMAGE


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk (or the database's own cap) was full."""
    return _code(error) & _PRIMARY == sqlite3.SQLITE_FULL


def _code(error: sqlite3.Error) -> int:
    """Errors of Python's module itself, which are bugs of the caller, have no code."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK))
