"""The supervisor: holds the session, the trust, the update machine and the spool, and watches its worker."""
