// Kafka's wire format, as little of it as floor.c, raw.c and idle.c need: big-endian numbers, strings, sockets, frames, CRC-32C.
#ifndef WIRE_H
#define WIRE_H

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "measure.h"

enum { PRODUCE = 0, FETCH = 1, LIST_OFFSETS = 2, METADATA = 3, API_VERSIONS = 18 };

// Where things lie in a record batch v2.
enum { BATCH_LENGTH_AT = 8, LEADER_EPOCH_AT = 12, MAGIC_AT = 16, CRC_AT = 17, CRC_FROM = 21, LAST_OFFSET_DELTA_AT = 23, RECORD_COUNT_AT = 57, BATCH_HEADER = 61 };

static inline int32_t be32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return (int32_t)be32toh(value);
}

static inline int64_t be64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return (int64_t)be64toh(value);
}

// Bytes being read. Reading beyond the end gives zeros and sets `bad`.
struct reader {
    const uint8_t *at, *end;
    int bad;
};

static inline const uint8_t *take(struct reader *reader, size_t count) {
    static const uint8_t zeros[16];
    if ((size_t)(reader->end - reader->at) < count) {
        reader->bad = 1;
        return count <= sizeof zeros ? zeros : NULL;
    }
    reader->at += count;
    return reader->at - count;
}

static inline int8_t get8(struct reader *reader) { return (int8_t)*take(reader, 1); }
static inline int16_t get16(struct reader *reader) {
    const uint8_t *at = take(reader, 2);
    return (int16_t)(at[0] << 8 | at[1]);
}
static inline int32_t get32(struct reader *reader) { return be32(take(reader, 4)); }
static inline int64_t get64(struct reader *reader) { return be64(take(reader, 8)); }

struct text {
    const char *bytes;
    int length;
};

static inline struct text get_string(struct reader *reader) {
    int length = get16(reader);
    if (length <= 0) return (struct text){"", 0};
    const char *bytes = (const char *)take(reader, (size_t)length);
    return reader->bad ? (struct text){"", 0} : (struct text){bytes, length};
}

// Bytes being written, into room that the caller has made large enough.
struct writer {
    uint8_t *begin, *at;
};

static inline void put(struct writer *writer, const void *bytes, size_t count) {
    memcpy(writer->at, bytes, count);
    writer->at += count;
}
static inline void put8(struct writer *writer, int value) { *writer->at++ = (uint8_t)value; }
static inline void put16(struct writer *writer, int value) {
    uint16_t wire = htobe16((uint16_t)value);
    put(writer, &wire, 2);
}
static inline void put32(struct writer *writer, int64_t value) {
    uint32_t wire = htobe32((uint32_t)value);
    put(writer, &wire, 4);
}
static inline void put64(struct writer *writer, int64_t value) {
    uint64_t wire = htobe64((uint64_t)value);
    put(writer, &wire, 8);
}
static inline void put_text(struct writer *writer, struct text text) {
    put16(writer, text.length);
    put(writer, text.bytes, (size_t)text.length);
}
static inline void put_string(struct writer *writer, const char *text) { put_text(writer, (struct text){text, (int)strlen(text)}); }
static inline size_t written(const struct writer *writer) { return (size_t)(writer->at - writer->begin); }

// A frame begins with its size, which is known at its end.
static inline struct writer begin_frame(uint8_t *room) { return (struct writer){room, room + 4}; }
static inline void end_frame(struct writer *writer, size_t payload_elsewhere) {
    uint32_t size = htobe32((uint32_t)(written(writer) - 4 + payload_elsewhere));
    memcpy(writer->begin, &size, 4);
}

static inline struct writer begin_request(uint8_t *room, int api, int version, int correlation_id) {
    struct writer writer = begin_frame(room);
    put16(&writer, api);
    put16(&writer, version);
    put32(&writer, correlation_id);
    put_string(&writer, "bench");
    return writer;
}

static inline int receive_all(int socket, void *room, size_t count) {
    for (uint8_t *at = room; count > 0;) {
        ssize_t got = recv(socket, at, count, 0);
        if (got <= 0) return -1;
        at += got;
        count -= (size_t)got;
    }
    return 0;
}

static inline int send_all_flags(int socket, const void *bytes, size_t count, int flags) {
    for (const uint8_t *at = bytes; count > 0;) {
        ssize_t sent = send(socket, at, count, flags | MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        at += sent;
        count -= (size_t)sent;
    }
    return 0;
}

static inline int dial(const struct options *options) {
    int connection = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
    inet_aton(options->host, &address.sin_addr);
    if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) != 0) fail("connect to port %d: %s", options->port, strerror(errno));
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return connection;
}

// Reads one response into `room` and gives its body, after the correlation id.
static inline struct reader receive_response(int connection, uint8_t *room, size_t room_bytes) {
    uint8_t head[4];
    if (receive_all(connection, head, 4) != 0) fail("the broker closed the connection");
    size_t size = (size_t)be32(head);
    if (size < 4 || size > room_bytes) fail("a response of %zu bytes", size);
    if (receive_all(connection, room, size) != 0) fail("the broker closed the connection within a response");
    return (struct reader){room + 4, room + size, 0};
}

// Asks for the topic's metadata, which makes a broker create it, until its partition has a leader.
static inline void await_topic_raw(const struct options *options) {
    static uint8_t room[1 << 20];
    int connection = dial(options);
    int64_t limit = now_us() + 15 * 1000000LL;
    while (now_us() < limit) {
        struct writer request = begin_request(room, METADATA, 1, 1);
        put32(&request, 1);
        put_string(&request, options->topic);
        end_frame(&request, 0);
        if (send_all_flags(connection, room, written(&request), 0) != 0) fail("the broker closed the connection");
        struct reader body = receive_response(connection, room, sizeof room);
        for (int brokers = get32(&body); brokers > 0 && !body.bad; brokers--) {
            get32(&body), get_string(&body), get32(&body), get_string(&body);
        }
        get32(&body);
        int topics = get32(&body), error = get16(&body);
        get_string(&body), get8(&body);
        int partitions = get32(&body), partition_error = get16(&body), partition = get32(&body), leader = get32(&body);
        if (!body.bad && topics == 1 && error == 0 && partitions == 1 && partition_error == 0 && partition == 0 && leader >= 0) {
            close(connection);
            return;
        }
        usleep(50000);
    }
    fail("topic %s has no leader after 15 s", options->topic);
}

#ifdef __SSE4_2__
#include <nmmintrin.h>
static inline uint32_t crc32c(const uint8_t *bytes, size_t count) {
    uint64_t crc = ~0u;
    for (; count >= 8; bytes += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        crc = _mm_crc32_u64(crc, word);
    }
    while (count-- > 0) crc = _mm_crc32_u8((uint32_t)crc, *bytes++);
    return ~(uint32_t)crc;
}
#else
#error "the load programs compute CRC-32C by an instruction of x86-64 (SSE 4.2)"
#endif

#endif
