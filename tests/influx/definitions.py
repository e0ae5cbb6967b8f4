"""Data definition files as earlier versions of tessflux came with them."""

EXAMPLE_OF_2017 = """\
CREATE DATABASE "tessdb";
CREATE RETENTION POLICY "two_days" ON "tessdb" DURATION 2d SHARD_DURATION 2h REPLICATION 1 DEFAULT;
CREATE RETENTION POLICY "forever" ON "tessdb" DURATION INF SHARD_DURATION 1000w REPLICATION 1;
DROP RETENTION POLICY "autogen" ON "tessdb";
CREATE USER "tessflux" WITH PASSWORD 'foo';
CREATE USER "grafana"  WITH PASSWORD 'bar';
GRANT READ  ON "tessdb" TO "grafana";
GRANT WRITE ON "tessdb" TO "tessflux";
"""

EXAMPLE_WITH_A_CONTINUOUS_QUERY = """\
CREATE DATABASE "tessdb";
CREATE RETENTION POLICY "two_hours" ON "tessdb" DURATION 2h  REPLICATION 1 DEFAULT;
CREATE RETENTION POLICY "a_year"    ON "tessdb" DURATION 52w REPLICATION 1;
CREATE CONTINUOUS QUERY "cq_30m"    ON "tessdb"
BEGIN
  SELECT mean("tamb") AS "mean_tamb",mean("tsky") AS "mean_tsky",
    mean("mag") AS "mean_mag",mean("freq") AS "mean_freq"
  INTO "a_year"."downsampled_readings"
  FROM "readings"
  GROUP BY time(60m)
END;
"""
