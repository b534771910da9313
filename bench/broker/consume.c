// consume: how fast librdkafka reads one partition from its beginning, and what that costs the broker.
//
//   consume --port 9092 --topic t --count 5000000 --broker-pid PID
//
// --timeout in s (60), --set name=value for librdkafka's own settings. CRCs are not checked, so that the client is less of a limit.
#define _GNU_SOURCE
#include "librdkafka.h"

#define BATCH 10000

static int64_t count = 1000000;
static double timeout_s = 60;

static int own_option(const char *name, const char *value) {
    if (!strcmp(name, "--count")) count = atoll(value);
    else if (!strcmp(name, "--timeout")) timeout_s = atof(value);
    else return take_setting(name, value);
    return 1;
}

int main(int argc, char **argv) {
    struct options options = read_options(argc, argv, own_option);
    rd_kafka_conf_t *conf = conf_new(&options);
    set(conf, "group.id", "bench");
    set(conf, "enable.auto.commit", "false");
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "check.crcs", "false");
    set(conf, "fetch.wait.max.ms", "50");
    set(conf, "queued.min.messages", "1000000");
    set(conf, "queued.max.messages.kbytes", "262144");
    rd_kafka_t *consumer = client_new(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(partitions, options.topic, 0)->offset = 0;
    static rd_kafka_message_t *messages[BATCH];
    struct latencies none = {0};
    struct run run = begin_run(options.broker);
    rd_kafka_assign(consumer, partitions);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    int64_t limit = now_us() + (int64_t)(timeout_s * 1e6), read = 0;
    double bytes = 0;
    while (read < count) {
        ssize_t came = rd_kafka_consume_batch_queue(queue, 100, messages, BATCH);
        for (ssize_t at = 0; at < came; at++) {
            if (messages[at]->err) fail("consume: %s", rd_kafka_message_errstr(messages[at]));
            bytes += (double)messages[at]->len;
            rd_kafka_message_destroy(messages[at]);
        }
        read += came > 0 ? came : 0;
        if (now_us() > limit) fail("%lld of %lld records read after %.0f s", (long long)read, (long long)count, timeout_s);
    }
    end_run(&run, "consume", (double)read, bytes, &none);
    // Closing would leave the group and wait for what is prefetched; nothing of that is measured.
    _exit(0);
}
