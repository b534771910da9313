"""job.py ZOOKEEPER TOPIC WHAT: reads a topic from its beginning, in the group WHAT, and

    fail     raises in a lambda
    loop     says so in a lambda and never comes back
    count    says when the first records have been counted
    wait     says when it starts, and reads
"""
import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext
from pyspark.streaming.kafka import KafkaUtils

zookeeper, topic, what = sys.argv[1:]


def loop():
    print("in the lambda", flush=True)
    while True:
        pass


def counted(rdd):
    global total
    before, total = total, total + rdd.count()
    if total > before:
        print("%d records" % total, flush=True)


total = 0
ssc = StreamingContext(SparkContext(appName="job"), 1)
messages = KafkaUtils.createStream(ssc, zookeeper, what, {topic: 1}, {"auto.offset.reset": "smallest"})
lines = messages.map(lambda message: message[1])
if what == "fail":
    lines = lines.map(lambda line: int(line))
if what == "loop":
    lines = lines.map(lambda line: loop())
lines.foreachRDD(counted)
if what == "wait":
    print("starting", flush=True)
ssc.start()
ssc.awaitTermination()
