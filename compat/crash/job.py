"""The word count of the tutorial, its counts appended to a file instead of printed, one JSON line a batch.

    job.py ZOOKEEPER TOPIC GROUP FILE
"""
import json
import os
import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext
from pyspark.streaming.kafka import KafkaUtils

BATCH_S = 0.25
# Sessions that end soon after their process: a new member waits for the old one's to be over.
CONSUMER = {"zookeeper.session.timeout.ms": "2000", "rebalance.backoff.ms": "500", "rebalance.max.retries": "20", "auto.offset.reset": "smallest"}


def main():
    zookeeper, topic, group, path = sys.argv[1:]
    output = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    # The line of a job that was killed in the middle of it stays one of its own.
    os.write(output, b"\n")

    def append(rdd):
        counts = dict(rdd.collect())
        if counts:
            os.write(output, json.dumps(counts).encode() + b"\n")

    context = StreamingContext(SparkContext(appName="Crashed"), BATCH_S)
    messages = KafkaUtils.createStream(context, zookeeper, group, {topic: 1}, kafkaParams=CONSUMER)
    words = messages.map(lambda message: message[1]).flatMap(lambda line: line.split(" "))
    words.filter(lambda word: word.endswith(":")).map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b).foreachRDD(append)
    context.start()
    context.awaitTermination()


if __name__ == "__main__":
    main()
