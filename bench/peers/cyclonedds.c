/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Eclipse Cyclone DDS over loopback UDP, without multicast and its iceoryx plug-in. Reliable, everything is kept until
 * taken: a writer waits while its reader is behind. What a writer sends before a reader knows of it is lost to that
 * reader, so both sides have to have found each other.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <dds/dds.h>
#include <dds/version.h>
#include <inttypes.h>
#include <stdlib.h>

#include "ready.h"
#include "threads.h"

#define QUEUE_BYTES (64u << 20) /* of messages that arrived and are not taken yet */
#define QUEUE_MAX 65536u
#define QUEUE_MIN 8u

struct message {
    dds_sequence_t data;
};

/* As idlc makes it for: struct Message { sequence<octet> data; }; */
static const uint32_t operations[] = {DDS_OP_ADR | DDS_OP_TYPE_SEQ | DDS_OP_SUBTYPE_1BY, offsetof(struct message, data),
                                      DDS_OP_RTS};
static const dds_topic_descriptor_t description = {
    .m_size = sizeof(struct message),
    .m_align = _Alignof(struct message),
    .m_typename = "tarn::Message",
    .m_nops = 2,
    .m_ops = operations,
    .m_meta = "",
};

struct sender {
    dds_entity_t topic, writer;
    struct message message;
    const struct peer_channel *channel;
};

struct receiver {
    dds_entity_t topic, reader, condition, wait_set;
    struct message message;
};

static uint32_t base_port;
static dds_entity_t domain, participant; /* of this process */
static uint32_t participant_users;

static int32_t check(int32_t result, const char *what) {
    if (result < 0) {
        peer_fail("cyclonedds: %s: %s", what, dds_strretcode(result));
    }
    return result;
}

static const char *version(void) {
    return DDS_VERSION;
}

/* ---- ends ------------------------------------------------------------------------------------------------------- */

static void prepare(struct peer_channel *channel) {
    threads_prepare();
    if (base_port == 0) {
        base_port = channel->port;
    }
    ready_prepare(channel);
}

static void release(struct peer_channel *channel) {
    ready_release(channel);
}

/* The two processes have two ports each, from base_port on. */
static void open_domain(void) {
    char text[2048];
    snprintf(text, sizeof(text),
             "<CycloneDDS><Domain Id=\"any\">"
             "<General><Interfaces><NetworkInterface name=\"lo\" multicast=\"false\"/></Interfaces>"
             "<AllowMulticast>false</AllowMulticast>"
             "<MaxMessageSize>65500B</MaxMessageSize><FragmentSize>65000B</FragmentSize></General>"
             "<Discovery><ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>3</MaxAutoParticipantIndex>"
             "<Peers><Peer Address=\"127.0.0.1\"/></Peers><Ports><Base>%" PRIu32 "</Base>"
             "<ParticipantGain>2</ParticipantGain><UnicastMetaOffset>0</UnicastMetaOffset>"
             "<UnicastDataOffset>1</UnicastDataOffset></Ports></Discovery>"
             "<Internal><SynchronousDeliveryLatencyBound>inf</SynchronousDeliveryLatencyBound>"
             "<SocketReceiveBufferSize min=\"default\" "
             "max=\"4MB\"/><NackDelay>1ms</NackDelay><Watermarks><WhcHigh>4MB</WhcHigh></Watermarks></Internal>"
             "</Domain></CycloneDDS>",
             base_port);
    domain = check(dds_create_domain(0, text), "dds_create_domain");
    participant = check(dds_create_participant(0, NULL, NULL), "dds_create_participant");
}

static void use_participant(void) {
    if (participant_users++ == 0) {
        cpu_set_t own = threads_leave_cpu();
        open_domain();
        threads_return(own);
    }
}

static void leave_participant(void) {
    if (--participant_users == 0) {
        dds_delete(participant);
        dds_delete(domain);
    }
}

static dds_qos_t *make_qos(const struct peer_channel *channel) {
    size_t queued = QUEUE_BYTES / channel->bytes;
    queued = queued > QUEUE_MAX ? QUEUE_MAX : queued < QUEUE_MIN ? QUEUE_MIN : queued;
    dds_qos_t *qos = dds_create_qos();
    dds_qset_reliability(qos, DDS_RELIABILITY_RELIABLE, DDS_INFINITY);
    dds_qset_history(qos, DDS_HISTORY_KEEP_ALL, 0);
    dds_qset_resource_limits(qos, (int32_t)queued, DDS_LENGTH_UNLIMITED, DDS_LENGTH_UNLIMITED);
    return qos;
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sender *sender = calloc(1, sizeof(*sender));
    use_participant();
    dds_qos_t *qos = make_qos(channel);
    sender->topic = check(dds_create_topic(participant, &description, channel->name, qos, NULL), "dds_create_topic");
    sender->writer = check(dds_create_writer(participant, sender->topic, qos, NULL), "dds_create_writer");
    dds_delete_qos(qos);
    sender->message.data._buffer = calloc(1, channel->bytes);
    sender->message.data._length = sender->message.data._maximum = (uint32_t)channel->bytes;
    sender->channel = channel;
    return sender;
}

static void count_writers(dds_entity_t reader, const dds_subscription_matched_status_t status, void *arguments) {
    (void)reader;
    ready_add(arguments, (uint32_t)status.current_count_change);
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct receiver *receiver = calloc(1, sizeof(*receiver));
    use_participant();
    dds_qos_t *qos = make_qos(channel);
    dds_listener_t *listener = dds_create_listener((void *)(uintptr_t)channel);
    dds_lset_subscription_matched(listener, count_writers);
    receiver->topic = check(dds_create_topic(participant, &description, channel->name, qos, NULL), "dds_create_topic");
    receiver->reader = check(dds_create_reader(participant, receiver->topic, qos, listener), "dds_create_reader");
    dds_delete_listener(listener);
    dds_delete_qos(qos);
    if (channel->sleeps) {
        receiver->condition =
            check(dds_create_readcondition(receiver->reader, DDS_ANY_STATE), "dds_create_readcondition");
        receiver->wait_set = check(dds_create_waitset(participant), "dds_create_waitset");
        check(dds_waitset_attach(receiver->wait_set, receiver->condition, 0), "dds_waitset_attach");
    }
    return receiver;
}

static bool connected(void *handle) {
    struct sender *sender = handle;
    dds_publication_matched_status_t status;
    check(dds_get_publication_matched_status(sender->writer, &status), "dds_get_publication_matched_status");
    const struct peer_channel *channel = sender->channel;
    return status.current_count == channel->receivers && ready_count(channel) == channel->senders * channel->receivers;
}

static void close_sender(void *handle) {
    struct sender *sender = handle;
    dds_delete(sender->writer);
    dds_delete(sender->topic);
    free(sender->message.data._buffer);
    free(sender);
    leave_participant();
}

static void close_receiver(void *handle) {
    struct receiver *receiver = handle;
    if (receiver->wait_set != 0) {
        dds_delete(receiver->wait_set);
    }
    dds_delete(receiver->reader);
    dds_delete(receiver->topic);
    dds_free(receiver->message.data._buffer);
    free(receiver);
    leave_participant();
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

static void *loan(void *handle) {
    struct sender *sender = handle;
    return sender->message.data._buffer;
}

static void send_loan(void *handle) {
    struct sender *sender = handle;
    check(dds_write(sender->writer, &sender->message), "dds_write");
}

/* Into the receiver's own memory, which is used again. */
static bool take_one(struct receiver *receiver) {
    void *sample = &receiver->message;
    dds_sample_info_t info;
    int32_t count;
    do {
        count = check(dds_take(receiver->reader, &sample, &info, 1, 1), "dds_take");
    } while (count == 1 && !info.valid_data);
    return count == 1;
}

static const void *take(void *handle, bool wait) {
    struct receiver *receiver = handle;
    bool taken = take_one(receiver);
    while (wait && !taken) {
        check(dds_waitset_wait(receiver->wait_set, NULL, 0, DDS_INFINITY), "dds_waitset_wait");
        taken = take_one(receiver);
    }
    if (!taken) {
        sched_yield();
        return NULL;
    }
    return receiver->message.data._buffer;
}

static void done(void *handle) {
    (void)handle;
}

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "cyclonedds",
    .title = "Cyclone DDS",
    .how =
        "Reliable, keep all, over UDP on loopback without multicast, 64 KiB fragments, a sequence<octet>, delivered by "
        "the thread that receives; a wait set to sleep.",
    .bytes_max = UINT64_C(64) << 20,
    .senders_max = PEER_HANDLES_MAX,
    .receivers_max = PEER_HANDLES_MAX,
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .release = release,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
    .connected = connected,
    .loan = loan,
    .send = send_loan,
    .take = take,
    .done = done,
    .close_sender = close_sender,
    .close_receiver = close_receiver,
};
