"""Counts the words typed into a Kafka topic, second by second, with the API of Spark Streaming 2.4.

    bin/spark-submit examples/kafka_word_count.py localhost:2181 wordsendertest
"""
import sys

from pyspark import SparkContext
from pyspark.streaming import StreamingContext
from pyspark.streaming.kafka import KafkaUtils

if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("Usage: kafka_word_count.py <zookeeper> <topic>", file=sys.stderr)
        sys.exit(1)
    zookeeper, topic = sys.argv[1:]

    context = StreamingContext(SparkContext(appName="KafkaWordCount"), 1)
    messages = KafkaUtils.createStream(context, zookeeper, "word-count", {topic: 1})
    lines = messages.map(lambda message: message[1])
    words = lines.flatMap(lambda line: line.split(" "))
    words.map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b).pprint()

    context.start()
    context.awaitTermination()
