"""Kafka as a source, with the names and signatures of Spark 2.4's `pyspark.streaming.kafka`.

`createStream` is a member of a ZooKeeper consumer group; `createDirectStream` and `createRDD` read ranges of offsets from the brokers.
"""
import warnings

from pyspark.rdd import RDD
from pyspark.storagelevel import StorageLevel
from pyspark.streaming.dstream import DStream

__all__ = ["Broker", "KafkaMessageAndMetadata", "KafkaUtils", "OffsetRange", "TopicAndPartition", "utf8_decoder"]

DEPRECATED = "Deprecated in 2.3.0. Kafka 0.8 support is deprecated as of Spark 2.3.0. See SPARK-21893."


def utf8_decoder(s):
    """Text of UTF-8 bytes; None stays None."""
    return None if s is None else s.decode("utf-8")


def _deprecated():
    # Said of this file, as Spark says it of its own: Python then shows it only to those who ask (-W default).
    warnings.warn(DEPRECATED, DeprecationWarning)


class KafkaUtils:
    """Makes streams and RDDs of Kafka topics."""

    @staticmethod
    def createStream(ssc, zkQuorum, groupId, topics, kafkaParams=None, storageLevel=StorageLevel.MEMORY_AND_DISK_2,
                     keyDecoder=utf8_decoder, valueDecoder=utf8_decoder):
        """(key, value) pairs of the topics of a dict {topic: threads}, as a member of a ZooKeeper consumer group.

        Offsets are written below `/consumers/<groupId>/offsets` after the batch that read them is done. `kafkaParams` takes the old
        consumer's names; `auto.offset.reset` is `largest` unless it says `smallest`.
        """
        _deprecated()
        kafkaParams = kafkaParams if kafkaParams is not None else {}
        if not isinstance(topics, dict):
            raise TypeError("topics should be dict")
        kafkaParams.update({"zookeeper.connect": zkQuorum, "group.id": groupId, "zookeeper.connection.timeout.ms": "10000"})
        stream = ssc._jssc.native.kafka_stream(
            {str(topic): int(threads) for topic, threads in topics.items()}, _strings(kafkaParams), *_decoders(keyDecoder, valueDecoder))
        return DStream(stream, ssc)

    @staticmethod
    def createDirectStream(ssc, topics, kafkaParams, fromOffsets=None, keyDecoder=utf8_decoder, valueDecoder=utf8_decoder,
                           messageHandler=None):
        """(key, value) pairs read by ranges of offsets: one RDD partition per Kafka partition, no consumer group.

        `kafkaParams` holds `metadata.broker.list` or `bootstrap.servers`. `fromOffsets` is a dict {TopicAndPartition: offset}. With
        `messageHandler` the items are what it returns for a KafkaMessageAndMetadata.
        """
        _deprecated()
        if not isinstance(topics, list):
            raise TypeError("topics should be list")
        if not isinstance(kafkaParams, dict):
            raise TypeError("kafkaParams should be dict")
        starts = [(tp._topic, tp._partition, int(offset)) for tp, offset in (fromOffsets or {}).items()]
        stream = ssc._jssc.native.kafka_direct_stream(
            [str(topic) for topic in topics], _strings(kafkaParams), starts, _strings(dict(ssc.sparkContext._conf.getAll())),
            *_decoders(keyDecoder, valueDecoder), messageHandler is not None)
        stream = KafkaDStream(stream, ssc)
        return stream if messageHandler is None else stream._handled(messageHandler, keyDecoder, valueDecoder)

    @staticmethod
    def createRDD(sc, kafkaParams, offsetRanges, leaders=None, keyDecoder=utf8_decoder, valueDecoder=utf8_decoder, messageHandler=None):
        """An RDD of the records in a list of OffsetRange, one partition each. `leaders` is not needed: the brokers say who leads."""
        _deprecated()
        if not isinstance(kafkaParams, dict):
            raise TypeError("kafkaParams should be dict")
        if not isinstance(offsetRanges, list):
            raise TypeError("offsetRanges should be list")
        ranges = [(r.topic, r.partition, r.fromOffset, r.untilOffset) for r in offsetRanges]
        handle = sc._native.kafka_rdd(_strings(kafkaParams), ranges, *_decoders(keyDecoder, valueDecoder), messageHandler is not None)
        rdd = KafkaRDD(handle, sc)
        return rdd if messageHandler is None else rdd._handled(messageHandler, keyDecoder, valueDecoder)


def _strings(params):
    return {str(key): str(value) for key, value in params.items()}


def _decoders(key, value):
    """None stands for utf8_decoder, which the engine does by itself while it builds the pairs."""
    return tuple(None if decoder is utf8_decoder else decoder for decoder in (key, value))


class OffsetRange:
    """The records of a partition from `fromOffset` up to, and without, `untilOffset`."""

    def __init__(self, topic, partition, fromOffset, untilOffset):
        _deprecated()
        self._set(topic, partition, fromOffset, untilOffset)

    @classmethod
    def _of(cls, values):
        made = cls.__new__(cls)
        made._set(*values)
        return made

    def _set(self, topic, partition, fromOffset, untilOffset):
        self.topic = topic
        self.partition = partition
        self.fromOffset = fromOffset
        self.untilOffset = untilOffset

    def _values(self):
        return self.topic, self.partition, self.fromOffset, self.untilOffset

    def __eq__(self, other):
        return isinstance(other, OffsetRange) and self._values() == other._values()

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash(self._values())

    def __str__(self):
        # The missing parenthesis is Spark's.
        return "OffsetRange(topic: %s, partition: %d, range: [%d -> %d]" % self._values()


class TopicAndPartition:
    """One partition of a topic."""

    def __init__(self, topic, partition):
        _deprecated()
        self._topic = topic
        self._partition = partition

    def __eq__(self, other):
        return isinstance(other, TopicAndPartition) and (self._topic, self._partition) == (other._topic, other._partition)

    def __ne__(self, other):
        return not self == other

    def __hash__(self):
        return hash((self._topic, self._partition))


class Broker:
    """Host and port of a leader."""

    def __init__(self, host, port):
        _deprecated()
        self._host = host
        self._port = port


class KafkaRDD(RDD):
    """An RDD read from Kafka, which knows its ranges. What is derived from it does not."""

    def offsetRanges(self):
        return [OffsetRange._of(values) for values in self._jrdd.offset_ranges()]

    def _handled(self, handler, key_decoder, value_decoder):
        return _HandledKafkaRDD(self, handler, key_decoder, value_decoder)


class _HandledKafkaRDD(KafkaRDD):
    """A KafkaRDD of what a messageHandler made of each message."""

    def __init__(self, source, handler, key_decoder, value_decoder):
        def handle(_, lists):
            return [handler(KafkaMessageAndMetadata(topic, partition, offset, key, value)._with_decoders(key_decoder, value_decoder))
                    for block in lists for topic, partition, offset, key, value in block]

        self._source = source
        super().__init__(source._jrdd.map_blocks(handle), source.ctx)

    def offsetRanges(self):
        return self._source.offsetRanges()


class KafkaDStream(DStream):
    """A direct stream: its own transform and foreachRDD hand out KafkaRDDs."""

    _handler = None

    def _handled(self, handler, key_decoder, value_decoder):
        self._handler = (handler, key_decoder, value_decoder)
        return self

    def _wrap(self, jrdd):
        if jrdd is None:
            return None
        rdd = KafkaRDD(jrdd, self._sc)
        return rdd if self._handler is None else rdd._handled(*self._handler)


class KafkaMessageAndMetadata:
    """A message, where it came from, and its key and value decoded when they are asked for."""

    def __init__(self, topic, partition, offset, key, message):
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self._rawKey = key
        self._rawMessage = message
        self._keyDecoder = utf8_decoder
        self._valueDecoder = utf8_decoder

    def _with_decoders(self, key_decoder, value_decoder):
        self._keyDecoder = key_decoder
        self._valueDecoder = value_decoder
        return self

    def __str__(self):
        return "KafkaMessageAndMetadata(topic: %s, partition: %d, offset: %d, key and message...)" % (self.topic, self.partition, self.offset)

    def __repr__(self):
        return str(self)

    def __reduce__(self):
        return KafkaMessageAndMetadata, (self.topic, self.partition, self.offset, self._rawKey, self._rawMessage)

    @property
    def key(self):
        return self._keyDecoder(self._rawKey)

    @property
    def message(self):
        return self._valueDecoder(self._rawMessage)
