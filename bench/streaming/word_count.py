#!/usr/bin/env python3
"""The tutorial's word count, runs unchanged under any spark-submit:

    spark-submit word_count.py queue CORPUS [--lines-per-batch N] [--batches N] [--empty-batches N]
    spark-submit word_count.py kafka ZOOKEEPER TOPIC GROUP          (Spark itself has no such source since 3.0)
        [--interval SECONDS] [--seconds N] [--lines N] [--log FILE] [--print]

It ends after --seconds, or once --lines lines have been counted, or with the last batch of the queue and some empty ones behind it. Each event is a line of JSON in the log. With --print each batch is
printed, else it is collected and its totals go into the log."""
import argparse
import json
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("source", nargs="+")
parser.add_argument("--interval", type=float, default=1.0)
parser.add_argument("--seconds", type=float, default=3600)
parser.add_argument("--lines", type=int, default=1 << 62)
parser.add_argument("--lines-per-batch", type=int, default=50000)
parser.add_argument("--batches", type=int, default=10)
parser.add_argument("--empty-batches", type=int, default=0)
parser.add_argument("--log", default="/dev/stderr")
parser.add_argument("--print", action="store_true")
options = parser.parse_args()

log, log_lock = open(options.log, "w", buffering=1), threading.Lock()


def event(name, **fields):
    with log_lock:
        log.write(json.dumps(dict(fields, ev=name, t=time.time())) + "\n")


event("main")
from pyspark import SparkContext  # noqa: E402 (the import is part of what is measured)
from pyspark.streaming import StreamingContext  # noqa: E402
from pyspark.streaming.listener import StreamingListener  # noqa: E402

counted = [0, 0]


class Batches(StreamingListener):
    def onBatchCompleted(self, batchCompleted):
        info = batchCompleted.batchInfo()
        event("batch", bt=info.batchTime().milliseconds(), n=info.numRecords(), sched=info.schedulingDelay(), proc=info.processingDelay())
        counted[0] += info.numRecords()
        counted[1] += 1


def queue(context):
    """Batches of the corpus, each in two partitions, made beforehand. A queue's records are told to no listener, so the log has them."""
    with open(options.source[1]) as f:
        lines = f.read().split("\n")
    lines.pop()
    size = options.lines_per_batch
    begins = [number * size % len(lines) for number in range(options.batches)]
    rdds = [context.parallelize(lines[begin:begin + size], 2) for begin in begins]
    event("queued", batches=options.batches, lines=size)
    return rdds


sc = SparkContext(appName="word count")
sc.setLogLevel("ERROR")
ssc = StreamingContext(sc, options.interval)
ssc.addStreamingListener(Batches())
if options.source[0] == "queue":
    lines = ssc.queueStream(queue(sc))
else:
    from pyspark.streaming.kafka import KafkaUtils
    zookeeper, topic, group = options.source[1:]
    messages = KafkaUtils.createStream(ssc, zookeeper, group, {topic: 1}, {"auto.offset.reset": "smallest"})
    lines = messages.map(lambda message: message[1])
counts = lines.flatMap(lambda line: line.split(" ")).map(lambda word: (word, 1)).reduceByKey(lambda x, y: x + y)
if options.print:
    counts.pprint()
else:
    def total(batch_time, rdd):
        pairs = rdd.collect()
        event("out", bt=int(batch_time.timestamp() * 1000), keys=len(pairs), words=sum(count for _, count in pairs))

    counts.foreachRDD(total)

ssc.start()
event("started")
until = time.time() + options.seconds
while time.time() < until and counted[0] < options.lines and not ssc.awaitTerminationOrTimeout(0.05):
    if options.source[0] == "queue" and counted[1] >= options.batches + options.empty_batches:
        break
event("stopping")
ssc.stop(True, False)
event("stopped")
