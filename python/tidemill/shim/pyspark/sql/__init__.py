"""Spark SQL is not here: say so at once, in words that help."""
raise ImportError("pyspark.sql is not part of Tidemill, which runs DStreams and RDDs. Collect the RDD and work on plain Python objects, "
                  "or run this script on a real Spark")
