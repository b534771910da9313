// floor: the least that a broker can do, as the measure for those that do it right.
//
//   floor PORT DIRECTORY
//
// One thread per connection, blocking calls, one file and one index in memory per partition, one partition per topic, one topic per request. It receives a produce request
// into a buffer that it keeps, checks the CRC, stamps the offset, writes to the page cache and answers; it answers a fetch by sendfile. No recovery, no replication, no
// limits, nothing is ever synced or deleted: not a broker, but what every broker must do at least when librdkafka or raw.c talks to it.
// Speaks Produce 3-8, Fetch 4-11, ListOffsets 1, Metadata 1, ApiVersions 0-2.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "wire.h"

#define REQUEST_BYTES_MAX (100u << 20)
#define RESPONSE_BYTES_MAX 65536

static int port;
static const char *directory;

struct batch_at {
    int64_t offset, position;
};

struct partition {
    char name[256];
    int file;
    int64_t log_end, size;
    struct batch_at *index;
    int64_t batches, index_room;
    pthread_mutex_t lock;
    pthread_cond_t grew;
    struct partition *next;
};

static struct partition *partitions;
static pthread_mutex_t partitions_lock = PTHREAD_MUTEX_INITIALIZER;

// The partition of this topic, made where it is absent.
static struct partition *find(struct text topic) {
    pthread_mutex_lock(&partitions_lock);
    struct partition *found = partitions;
    while (found && !(strlen(found->name) == (size_t)topic.length && !memcmp(found->name, topic.bytes, (size_t)topic.length))) found = found->next;
    if (!found && topic.length < 256) {
        found = calloc(1, sizeof *found);
        memcpy(found->name, topic.bytes, (size_t)topic.length);
        char path[1024];
        snprintf(path, sizeof path, "%s/%s-0.log", directory, found->name);
        found->file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
        if (found->file < 0) fail("open %s: %s", path, strerror(errno));
        pthread_mutex_init(&found->lock, NULL);
        pthread_cond_init(&found->grew, NULL);
        found->next = partitions;
        partitions = found;
    }
    pthread_mutex_unlock(&partitions_lock);
    return found;
}

// Stamps the batch with its offset and writes it. Gives its offset, -1 where the CRC is wrong.
static int64_t append(struct partition *partition, uint8_t *batch, size_t size) {
    if (size < BATCH_HEADER || crc32c(batch + CRC_FROM, size - CRC_FROM) != (uint32_t)be32(batch + CRC_AT)) return -1;
    pthread_mutex_lock(&partition->lock);
    int64_t offset = partition->log_end;
    uint64_t wire = htobe64((uint64_t)offset);
    memcpy(batch, &wire, 8);
    memset(batch + LEADER_EPOCH_AT, 0, 4);
    if (pwrite(partition->file, batch, size, partition->size) != (ssize_t)size) fail("write: %s", strerror(errno));
    if (partition->batches == partition->index_room) {
        partition->index_room = partition->index_room ? partition->index_room * 2 : 1024;
        partition->index = realloc(partition->index, (size_t)partition->index_room * sizeof *partition->index);
    }
    partition->index[partition->batches++] = (struct batch_at){offset, partition->size};
    partition->log_end += be32(batch + LAST_OFFSET_DELTA_AT) + 1;
    partition->size += (int64_t)size;
    pthread_cond_broadcast(&partition->grew);
    pthread_mutex_unlock(&partition->lock);
    return offset;
}

static void produce(struct reader *request, int version, struct writer *response, int *acks) {
    get_string(request);
    *acks = get16(request);
    get32(request);
    put32(response, get32(request));
    struct text topic = get_string(request);
    put_text(response, topic);
    int count = get32(request);
    put32(response, count);
    for (; count > 0 && !request->bad; count--) {
        put32(response, get32(request));
        size_t size = (size_t)get32(request);
        const uint8_t *batch = take(request, size);
        int64_t offset = request->bad ? -1 : append(find(topic), (uint8_t *)batch, size);
        put16(response, offset < 0 ? 2 : 0);
        put64(response, offset);
        put64(response, -1);
        if (version >= 5) put64(response, 0);
        if (version >= 8) put32(response, 0), put16(response, -1);
    }
    put32(response, 0);
}

static void wait_for_growth(struct partition *partition, int64_t offset, int wait_ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (offset >= partition->log_end && pthread_cond_timedwait(&partition->grew, &partition->lock, &until) == 0) {}
}

// The batch that holds `offset` and as many bytes after it as are wanted; one whole batch at least.
static int64_t slice(const struct partition *partition, int64_t offset, int64_t bytes_max, int64_t *position) {
    int64_t low = 0, high = partition->batches - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (partition->index[middle].offset <= offset) low = middle;
        else high = middle - 1;
    }
    *position = partition->index[low].position;
    int64_t first = (low + 1 < partition->batches ? partition->index[low + 1].position : partition->size) - *position;
    int64_t length = partition->size - *position;
    if (length > bytes_max) length = bytes_max;
    return length < first ? first : length;
}

// Writes the head of the response; the records follow by sendfile.
static int64_t fetch(struct reader *request, int version, struct writer *response, struct partition **partition, int64_t *position) {
    get32(request);
    int wait_ms = get32(request);
    get32(request);
    int64_t bytes_max = get32(request);
    get8(request);
    if (version >= 7) get32(request), get32(request);
    int topics = get32(request);
    put32(response, 0);
    if (version >= 7) put16(response, 0), put32(response, 0);
    if (topics <= 0) {
        // A session asks for what is new; without sessions there is nothing to say.
        usleep(1000);
        put32(response, 0);
        return 0;
    }
    struct text topic = get_string(request);
    get32(request);
    int number = get32(request);
    if (version >= 9) get32(request);
    int64_t offset = get64(request);
    if (version >= 5) get64(request);
    int64_t partition_bytes_max = get32(request);
    if (partition_bytes_max < bytes_max) bytes_max = partition_bytes_max;
    struct partition *held = *partition = find(topic);
    pthread_mutex_lock(&held->lock);
    if (offset >= held->log_end && wait_ms > 0) wait_for_growth(held, offset, wait_ms);
    int64_t length = offset < held->log_end ? slice(held, offset, bytes_max, position) : 0, log_end = held->log_end;
    pthread_mutex_unlock(&held->lock);
    put32(response, 1);
    put_text(response, topic);
    put32(response, 1);
    put32(response, number);
    put16(response, offset > log_end ? 1 : 0);
    put64(response, log_end);
    put64(response, log_end);
    if (version >= 5) put64(response, 0);
    put32(response, -1);
    if (version >= 11) put32(response, -1);
    put32(response, length);
    return length;
}

static void list_offsets(struct reader *request, struct writer *response) {
    get32(request);
    put32(response, get32(request));
    struct text topic = get_string(request);
    get32(request);
    int number = get32(request);
    int64_t timestamp = get64(request);
    put_text(response, topic);
    put32(response, 1);
    put32(response, number);
    put16(response, 0);
    put64(response, -1);
    put64(response, timestamp == -1 ? find(topic)->log_end : 0);
}

static void metadata(struct reader *request, struct writer *response) {
    int topics = get32(request);
    put32(response, 1);
    put32(response, 1);
    put_string(response, "127.0.0.1");
    put32(response, port);
    put16(response, -1);
    put32(response, 1);
    put32(response, topics > 0 ? topics : 0);
    for (; topics > 0 && !request->bad; topics--) {
        struct text topic = get_string(request);
        find(topic);
        put16(response, 0);
        put_text(response, topic);
        put8(response, 0);
        put32(response, 1);
        put16(response, 0);
        put32(response, 0);
        put32(response, 1);
        put32(response, 1), put32(response, 1);
        put32(response, 1), put32(response, 1);
    }
}

static void api_versions(int version, struct writer *response) {
    static const int16_t served[][3] = {{PRODUCE, 3, 8}, {FETCH, 4, 11}, {LIST_OFFSETS, 1, 1}, {METADATA, 1, 1}, {API_VERSIONS, 0, 2}};
    put16(response, version > 2 ? 35 : 0);
    put32(response, 5);
    for (int at = 0; at < 5; at++) put16(response, served[at][0]), put16(response, served[at][1]), put16(response, served[at][2]);
    if (version >= 1 && version <= 2) put32(response, 0);
}

// Answers one request. Gives -1 where the connection must end.
static int serve(int connection, uint8_t *frame, size_t size, uint8_t *room) {
    struct reader request = {frame, frame + size, 0};
    int api = get16(&request), version = get16(&request), correlation_id = get32(&request), acks = 1;
    get_string(&request);
    struct writer response = begin_frame(room);
    put32(&response, correlation_id);
    struct partition *partition = NULL;
    int64_t position = 0, length = 0;
    switch (api) {
    case PRODUCE: produce(&request, version, &response, &acks); break;
    case FETCH: length = fetch(&request, version, &response, &partition, &position); break;
    case LIST_OFFSETS: list_offsets(&request, &response); break;
    case METADATA: metadata(&request, &response); break;
    case API_VERSIONS: api_versions(version, &response); break;
    default: return -1;
    }
    if (request.bad) return -1;
    if (acks == 0) return 0;
    end_frame(&response, (size_t)length);
    if (send_all_flags(connection, room, written(&response), length > 0 ? MSG_MORE : 0) != 0) return -1;
    while (length > 0) {
        ssize_t sent = sendfile(connection, partition->file, &position, (size_t)length);
        if (sent <= 0) return -1;
        length -= sent;
    }
    return 0;
}

static void *serve_connection(void *argument) {
    int connection = (int)(intptr_t)argument;
    size_t frame_room = 4 << 20;
    uint8_t *frame = malloc(frame_room), *response = malloc(RESPONSE_BYTES_MAX), head[4];
    while (receive_all(connection, head, 4) == 0) {
        size_t size = (uint32_t)be32(head);
        if (size > REQUEST_BYTES_MAX) break;
        if (size > frame_room) frame = realloc(frame, frame_room = size);
        if (receive_all(connection, frame, size) != 0 || serve(connection, frame, size, response) != 0) break;
    }
    close(connection);
    free(frame);
    free(response);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) fail("usage: floor PORT DIRECTORY");
    port = atoi(argv[1]);
    directory = argv[2];
    mkdir(directory, 0755);
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4096) != 0) fail("port %d: %s", port, strerror(errno));
    pthread_attr_t small_stack;
    pthread_attr_init(&small_stack);
    pthread_attr_setstacksize(&small_stack, 65536);
    while (1) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) continue;
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        pthread_t thread;
        if (pthread_create(&thread, &small_stack, serve_connection, (void *)(intptr_t)connection) != 0) close(connection);
        else pthread_detach(thread);
    }
}
