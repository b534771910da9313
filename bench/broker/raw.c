// raw: Produce and Fetch without a client library, so that the broker is the limit and not the client.
//
//   raw --mode produce --port 9092 --topic t --batch-bytes 1000000 --gb 1 --broker-pid PID
//   raw --mode fetch   --port 9092 --topic t --fetch-bytes 1048576 --gb 1 --broker-pid PID
//
// One batch is built once and sent again and again over one connection, --inflight requests at a time (5), --acks (-1), records of --size bytes (100). Fetching begins at
// offset 0, again whenever it reaches the end. Latencies are from the request's last byte handed to the kernel to the response's last byte taken from it.
#define _GNU_SOURCE
#include "wire.h"

#define INFLIGHT_MAX 64
#define HEAD_BYTES_MAX 1024

static int size = 100, batch_bytes = 1000000, inflight = 5, acks = -1, fetch_bytes = 1 << 20;
static double gb = 1;
static const char *mode = "produce";
static struct options options;
static struct latencies latencies;

static int own_option(const char *name, const char *value) {
    if (!strcmp(name, "--mode")) mode = value;
    else if (!strcmp(name, "--size")) size = atoi(value);
    else if (!strcmp(name, "--batch-bytes")) batch_bytes = atoi(value);
    else if (!strcmp(name, "--inflight")) inflight = atoi(value);
    else if (!strcmp(name, "--acks")) acks = atoi(value);
    else if (!strcmp(name, "--gb")) gb = atof(value);
    else if (!strcmp(name, "--fetch-bytes")) fetch_bytes = atoi(value);
    else return 0;
    return 1;
}

static void put_varint(struct writer *writer, int64_t value) {
    uint64_t zigzag = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    for (; zigzag >= 128; zigzag >>= 7) put8(writer, (int)(zigzag | 128));
    put8(writer, (int)zigzag);
}

static int varint_bytes(int64_t value) {
    uint64_t zigzag = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    int bytes = 1;
    for (; zigzag >= 128; zigzag >>= 7) bytes++;
    return bytes;
}

// A batch v2 of as many records as fit.
static struct writer build_batch(int *records) {
    char *value = malloc((size_t)size);
    srand(11);
    for (int at = 0; at < size; at++) value[at] = (char)(33 + rand() % 90);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t now_ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
    uint8_t *room = calloc(1, (size_t)batch_bytes + (size_t)size + 128);
    struct writer batch = {room, room};
    put64(&batch, 0), put32(&batch, 0), put32(&batch, -1), put8(&batch, 2), put32(&batch, 0), put16(&batch, 0);
    put32(&batch, 0), put64(&batch, now_ms), put64(&batch, now_ms), put64(&batch, -1), put16(&batch, -1), put32(&batch, -1), put32(&batch, 0);
    int count = 0;
    while (1) {
        int body = 1 + 1 + varint_bytes(count) + 1 + varint_bytes(size) + size + 1;
        if (count > 0 && (int)written(&batch) + body + 5 > batch_bytes) break;
        put_varint(&batch, body);
        put8(&batch, 0), put_varint(&batch, 0), put_varint(&batch, count), put_varint(&batch, -1), put_varint(&batch, size);
        put(&batch, value, (size_t)size);
        put_varint(&batch, 0);
        count++;
    }
    struct writer patch = {room, room + BATCH_LENGTH_AT};
    put32(&patch, (int64_t)written(&batch) - 12);
    patch.at = room + LAST_OFFSET_DELTA_AT, put32(&patch, count - 1);
    patch.at = room + RECORD_COUNT_AT, put32(&patch, count);
    patch.at = room + CRC_AT, put32(&patch, crc32c(room + CRC_FROM, written(&batch) - CRC_FROM));
    *records = count;
    return batch;
}

static void send_produce(int connection, const struct writer *batch, int correlation_id) {
    uint8_t room[HEAD_BYTES_MAX];
    struct writer head = begin_request(room, PRODUCE, 7, correlation_id);
    put16(&head, -1), put16(&head, acks), put32(&head, 30000);
    put32(&head, 1), put_string(&head, options.topic);
    put32(&head, 1), put32(&head, 0), put32(&head, (int64_t)written(batch));
    end_frame(&head, written(batch));
    struct iovec parts[2] = {{head.begin, written(&head)}, {batch->begin, written(batch)}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(connection, &message, MSG_NOSIGNAL);
    if (sent < (ssize_t)written(&head)) fail("the broker closed the connection");
    size_t of_batch = (size_t)sent - written(&head);
    if (send_all_flags(connection, batch->begin + of_batch, written(batch) - of_batch, 0) != 0) fail("the broker closed the connection");
}

static void produce(struct run *run, double *messages, double *bytes) {
    int records;
    struct writer batch = build_batch(&records);
    int64_t total = (int64_t)(gb * 1e9 / (double)written(&batch)) + 1, sent = 0, answered = 0, sent_at[INFLIGHT_MAX];
    if (inflight < 1 || inflight > INFLIGHT_MAX) fail("--inflight must lie within 1 and %d", INFLIGHT_MAX);
    latencies = latencies_new((size_t)total);
    int connection = dial(&options);
    *run = begin_run(options.broker);
    while (answered < total) {
        while (sent < total && sent - answered < inflight) {
            send_produce(connection, &batch, (int)sent);
            sent_at[sent++ % INFLIGHT_MAX] = now_us();
        }
        uint8_t room[4096];
        struct reader body = receive_response(connection, room, sizeof room);
        get32(&body), get_string(&body), get32(&body), get32(&body);
        int error = get16(&body);
        if (body.bad || error != 0) fail("produce answered with error %d", error);
        note_latency(&latencies, now_us() - sent_at[answered++ % INFLIGHT_MAX]);
    }
    *messages = (double)total * records;
    *bytes = (double)total * (double)written(&batch);
}

static void send_fetch(int connection, int64_t offset, int correlation_id) {
    uint8_t room[HEAD_BYTES_MAX];
    struct writer request = begin_request(room, FETCH, 11, correlation_id);
    put32(&request, -1), put32(&request, 0), put32(&request, 1), put32(&request, fetch_bytes), put8(&request, 0), put32(&request, 0), put32(&request, -1);
    put32(&request, 1), put_string(&request, options.topic), put32(&request, 1), put32(&request, 0), put32(&request, -1), put64(&request, offset);
    put64(&request, -1), put32(&request, fetch_bytes), put32(&request, 0), put_string(&request, "");
    end_frame(&request, 0);
    if (send_all_flags(connection, room, written(&request), 0) != 0) fail("the broker closed the connection");
}

// Goes over the batches of a response; gives the offset after the last whole one.
static int64_t after_batches(struct reader records, int64_t offset, double *messages) {
    while (records.end - records.at >= BATCH_HEADER) {
        const uint8_t *batch = records.at;
        int64_t batch_size = (int64_t)be32(batch + BATCH_LENGTH_AT) + 12;
        if (batch_size < BATCH_HEADER || batch_size > records.end - batch) break;
        offset = be64(batch) + be32(batch + LAST_OFFSET_DELTA_AT) + 1;
        *messages += be32(batch + RECORD_COUNT_AT);
        records.at += batch_size;
    }
    return offset;
}

static void fetch(struct run *run, double *messages, double *bytes) {
    size_t room_bytes = (size_t)fetch_bytes + (4 << 20);
    uint8_t *room = malloc(room_bytes);
    latencies = latencies_new(1 << 20);
    int connection = dial(&options), correlation_id = 0;
    int64_t offset = 0;
    *messages = *bytes = 0;
    *run = begin_run(options.broker);
    while (*bytes < gb * 1e9) {
        int64_t asked_at = now_us();
        send_fetch(connection, offset, correlation_id++);
        struct reader body = receive_response(connection, room, room_bytes);
        note_latency(&latencies, now_us() - asked_at);
        get32(&body);
        int error = get16(&body);
        get32(&body), get32(&body), get_string(&body), get32(&body), get32(&body);
        int partition_error = get16(&body);
        take(&body, 24);
        int aborted = get32(&body);
        if (aborted > 0) take(&body, (size_t)aborted * 16);
        get32(&body);
        int64_t length = get32(&body);
        if (body.bad || error != 0 || partition_error != 0 || length > body.end - body.at) fail("fetch answered with errors %d and %d", error, partition_error);
        int64_t next = after_batches((struct reader){body.at, body.at + length, 0}, offset, messages);
        if (next == offset && offset == 0) fail("there is nothing to fetch from topic %s", options.topic);
        *bytes += (double)length;
        offset = next == offset ? 0 : next;
    }
}

int main(int argc, char **argv) {
    options = read_options(argc, argv, own_option);
    struct run run;
    double messages, bytes;
    await_topic_raw(&options);
    if (!strcmp(mode, "produce")) produce(&run, &messages, &bytes);
    else if (!strcmp(mode, "fetch")) fetch(&run, &messages, &bytes);
    else fail("--mode is produce or fetch");
    sort_latencies(&latencies);
    char name[64];
    snprintf(name, sizeof name, "raw_%s", mode);
    end_run(&run, name, messages, bytes, &latencies);
    return 0;
}
