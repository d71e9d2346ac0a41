"""`python dlt-copy.py URL FILE`: dlt copies the table `events` as its documentation shows it, by connectorx."""

import sys
import tempfile

import dlt
from dlt.sources.sql_database import sql_table

url, file = sys.argv[1:]
table = sql_table(url, table="events", backend="connectorx", backend_kwargs={"return_type": "arrow"})

# Its state stays out of the user's home.
with tempfile.TemporaryDirectory() as folder:
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.sqlalchemy(f"sqlite:///{file}"),
        dataset_name="main",
        pipelines_dir=folder,
    )
    pipeline.run(table, write_disposition="replace", table_name="events").raise_on_failed_jobs()
