"""`python duckdb-copy.py postgres|mysql URL FILE`: DuckDB reads the table `events` of one database and writes it to another."""

import importlib
import sys

import duckdb

kind, url, file = sys.argv[1:]
connection = duckdb.connect()


def load(scanner):
    """Loads an extension from its package: DuckDB's own way to install one is a download."""
    folder = importlib.import_module(f"duckdb_extension_{scanner}").__path__[0]
    connection.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/{scanner}.duckdb_extension'")


load(f"{kind}_scanner")
load("sqlite_scanner")
connection.execute(f"ATTACH '{url}' AS source (TYPE {kind}, READ_ONLY)")
connection.execute(f"ATTACH '{file}' AS target (TYPE sqlite)")
schema = {"postgres": "public", "mysql": "bench"}[kind]
connection.execute(f"CREATE TABLE target.events AS SELECT * FROM source.{schema}.events")
