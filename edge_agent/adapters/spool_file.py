"""The spool's database file: its tables, and its settings for a card that wears out and may be full."""

import sqlite3
from pathlib import Path

MIB = 1024 * 1024
_PAGE_BYTES = 4096
_WAL_PAGES = 64
_TABLES = """
CREATE TABLE IF NOT EXISTS message (number INTEGER PRIMARY KEY AUTOINCREMENT, priority INTEGER NOT NULL,
    topic TEXT NOT NULL, expiry_s INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS held (worker INTEGER NOT NULL, model TEXT NOT NULL, priority INTEGER NOT NULL,
    topic TEXT NOT NULL, expiry_s INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (worker, model)) STRICT;
"""


def connect(path: Path | str, cap_mb: float) -> sqlite3.Connection:
    """Open or make the file, capped well above `cap_mb` of payloads.

    Raises:
        sqlite3.Error: it is damaged, or cannot be opened or written.
        UnicodeDecodeError: it is damaged.
    """
    db = sqlite3.connect(path)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        # Half as much again, and a megabyte: rows, indexes and free pages besides the payloads counted here.
        db.execute(f"PRAGMA max_page_count={int((cap_mb * 1.5 + 1) * MIB / _PAGE_BYTES):d}")
        db.execute("PRAGMA cache_size=-256")
        db.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES:d}")
        db.execute(f"PRAGMA journal_size_limit={4 * _WAL_PAGES * _PAGE_BYTES:d}")
        db.executescript(_TABLES)
    except (sqlite3.Error, UnicodeDecodeError):
        db.close()
        raise
    return db
