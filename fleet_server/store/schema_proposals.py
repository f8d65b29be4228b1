"""The tables of pipelines and proposals; see `fleet_server.store.schema`.

House rules: a pipeline's document and its files are artifacts, named by their content; a row only says which is the
present one. `open_model` is a proposal's model while it is open, else NULL: so one model has one open proposal.
"""

from sqlalchemy import JSON, BigInteger, Column, Integer, String, Table, Text

from fleet_server.store.schema import metadata

pipelines = Table(
    "pipelines",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("author", String(100), nullable=False),
    Column("created", BigInteger, nullable=False),
)

proposals = Table(
    "proposals",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("model", String(64), nullable=False, index=True),
    Column("open_model", String(64), unique=True),
    Column("version", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("cause", String(32), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("evidence", JSON(none_as_null=True), nullable=False),
    Column("pipeline", String(64), nullable=False),
    Column("author", String(100), nullable=False),
    Column("opened", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("accepted", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("operation", String(64)),
    Column("made", Integer),
    Column("rollout", String(64)),
    Column("verdict", JSON(none_as_null=True)),
    Column("fresh", JSON(none_as_null=True), nullable=False),
    sqlite_autoincrement=True,
)
