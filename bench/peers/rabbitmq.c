/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * RabbitMQ: a server of the run's own, with the epmd that Erlang needs, and librabbitmq, a connection for each end. A
 * queue for each receiver: senders publish to it by its name, or, where there are several, to a fanout exchange. The
 * server makes senders wait, by not reading from them.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "ready.h"
#include "server.h"

#define SCRIPT "/usr/lib/rabbitmq/bin/rabbitmq-server" /* the one in /usr/sbin changes the user */
#define FRAME_BYTES (1 << 20)
#define READY_SECONDS 60
#define AMQP_CHANNEL 1

struct sender {
    amqp_connection_state_t connection;
    amqp_bytes_t exchange, key, body;
    const struct peer_channel *channel;
    char name[64];
};

struct receiver {
    amqp_connection_state_t connection;
    amqp_envelope_t envelope;
};

static struct server server, epmd;
static uint32_t server_users, server_port;

static void check(amqp_rpc_reply_t reply, const char *what) {
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        peer_fail("rabbitmq: %s: %s", what, amqp_error_string2(reply.library_error));
    }
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        peer_fail("rabbitmq: %s: refused", what);
    }
}

static void check_last(amqp_connection_state_t connection, const char *what) {
    check(amqp_get_rpc_reply(connection), what);
}

static void check_status(int status, const char *what) {
    if (status != AMQP_STATUS_OK) {
        peer_fail("rabbitmq: %s: %s", what, amqp_error_string2(status));
    }
}

static const char *version(void) {
    return amqp_version();
}

/* ---- server ----------------------------------------------------------------------------------------------------- */

static void start_epmd(const char *folder) {
    char port[16];
    snprintf(port, sizeof(port), "%" PRIu32, server_port + 2);
    const char *const command[] = {"epmd", "-port", port, "-address", "127.0.0.1", NULL};
    epmd = server_start(command, SIGKILL, folder);
    server_wait_ready(&epmd, "epmd", READY_SECONDS, server_port_answers, server_port + 2);
}

static void write_configuration(const char *folder) {
    char text[512];
    snprintf(text, sizeof(text),
             "listeners.tcp.1 = 127.0.0.1:%" PRIu32
             "\nframe_max = %d\nlog.console = true\nlog.console.level = warning\n"
             "log.file = false\nvm_memory_high_watermark.absolute = 2GB\n",
             server_port, FRAME_BYTES);
    server_write_file(folder, "rabbitmq.conf", text);
    server_write_file(folder, "enabled_plugins", "[].");
}

static void start_server(const char *folder) {
    enum { VARIABLES = 12, VARIABLE_BYTES = 256 };
    char text[VARIABLES][VARIABLE_BYTES];
    uint32_t port = server_port;
    snprintf(text[0], VARIABLE_BYTES, "HOME=%s", folder);
    snprintf(text[1], VARIABLE_BYTES, "RABBITMQ_ALLOW_INPUT=1"); /* the script becomes the server, by exec */
    snprintf(text[2], VARIABLE_BYTES, "RABBITMQ_NODENAME=tarn%" PRIu32 "@localhost", port);
    snprintf(text[3], VARIABLE_BYTES, "RABBITMQ_CONF_ENV_FILE=/dev/null");
    snprintf(text[4], VARIABLE_BYTES, "RABBITMQ_CONFIG_FILE=%s/rabbitmq.conf", folder);
    snprintf(text[5], VARIABLE_BYTES, "RABBITMQ_ENABLED_PLUGINS_FILE=%s/enabled_plugins", folder);
    snprintf(text[6], VARIABLE_BYTES, "RABBITMQ_MNESIA_BASE=%s", folder);
    snprintf(text[7], VARIABLE_BYTES, "RABBITMQ_LOG_BASE=%s", folder);
    snprintf(text[8], VARIABLE_BYTES, "RABBITMQ_DIST_PORT=%" PRIu32, port + 1);
    snprintf(text[9], VARIABLE_BYTES, "ERL_EPMD_PORT=%" PRIu32, port + 2);
    snprintf(text[10], VARIABLE_BYTES, "ERL_EPMD_ADDRESS=127.0.0.1");
    snprintf(text[11], VARIABLE_BYTES,
             "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1} +sbwt none");
    const char *command[VARIABLES + 4] = {"env"};
    for (int i = 0; i < VARIABLES; i++) {
        command[1 + i] = text[i];
    }
    command[VARIABLES + 1] = SCRIPT;
    command[VARIABLES + 2] = "-noinput";
    server = server_start(command, SIGKILL, folder);
    server_wait_ready(&server, "rabbitmq-server", READY_SECONDS, server_port_answers, port);
}

static void prepare(struct peer_channel *channel) {
    ready_prepare(channel);
    if (server_users++ > 0) {
        return;
    }
    server_port = channel->port;
    start_epmd(channel->folder);
    write_configuration(channel->folder);
    start_server(channel->folder);
}

static void release(struct peer_channel *channel) {
    ready_release(channel);
    if (--server_users == 0) {
        server_stop(&server);
        server_stop(&epmd);
    }
}

static uint32_t servers(int pids[8]) {
    pids[0] = server.pid;
    pids[1] = epmd.pid;
    return 2;
}

/* ---- ends ------------------------------------------------------------------------------------------------------- */

static amqp_connection_state_t connect_to_server(void) {
    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    check_status(amqp_socket_open(socket, "127.0.0.1", (int)server_port), "amqp_socket_open");
    check(amqp_login(connection, "/", 0, FRAME_BYTES, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"), "amqp_login");
    amqp_channel_open(connection, AMQP_CHANNEL);
    check_last(connection, "amqp_channel_open");
    return connection;
}

static void disconnect(amqp_connection_state_t connection) {
    amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(connection);
}

/* By both sides, as either may be first. */
static void declare_exchange(amqp_connection_state_t connection, const struct peer_channel *channel) {
    amqp_exchange_declare(connection, AMQP_CHANNEL, amqp_cstring_bytes(channel->name), amqp_cstring_bytes("fanout"), 0,
                          0, 0, 0, amqp_empty_table);
    check_last(connection, "amqp_exchange_declare");
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sender *sender = calloc(1, sizeof(*sender));
    sender->channel = channel;
    sender->connection = connect_to_server();
    sender->body = (amqp_bytes_t){channel->bytes, calloc(1, channel->bytes)};
    if (channel->receivers > 1) {
        snprintf(sender->name, sizeof(sender->name), "%s", channel->name);
        sender->exchange = amqp_cstring_bytes(sender->name);
        sender->key = amqp_empty_bytes;
        declare_exchange(sender->connection, channel);
    } else {
        snprintf(sender->name, sizeof(sender->name), "%s.0", channel->name);
        sender->exchange = amqp_empty_bytes;
        sender->key = amqp_cstring_bytes(sender->name);
    }
    return sender;
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    struct receiver *receiver = calloc(1, sizeof(*receiver));
    amqp_connection_state_t connection = receiver->connection = connect_to_server();
    char name[64];
    snprintf(name, sizeof(name), "%s.%" PRIu32, channel->name, index);
    amqp_bytes_t queue = amqp_cstring_bytes(name);
    amqp_queue_declare(connection, AMQP_CHANNEL, queue, 0, 0, 1, 1, amqp_empty_table);
    check_last(connection, "amqp_queue_declare");
    if (channel->receivers > 1) {
        declare_exchange(connection, channel);
        amqp_queue_bind(connection, AMQP_CHANNEL, queue, amqp_cstring_bytes(channel->name), amqp_empty_bytes,
                        amqp_empty_table);
        check_last(connection, "amqp_queue_bind");
    }
    amqp_basic_consume(connection, AMQP_CHANNEL, queue, amqp_empty_bytes, 0, 1, 1, amqp_empty_table);
    check_last(connection, "amqp_basic_consume");
    ready_add(channel, 1);
    return receiver;
}

static void close_sender(void *handle) {
    struct sender *sender = handle;
    disconnect(sender->connection);
    free(sender->body.bytes);
    free(sender);
}

static void close_receiver(void *handle) {
    struct receiver *receiver = handle;
    disconnect(receiver->connection);
    free(receiver);
}

static bool connected(void *handle) {
    struct sender *sender = handle;
    return ready_count(sender->channel) == sender->channel->receivers;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

static void *loan(void *handle) {
    struct sender *sender = handle;
    return sender->body.bytes;
}

static void send_loan(void *handle) {
    struct sender *sender = handle;
    check_status(
        amqp_basic_publish(sender->connection, AMQP_CHANNEL, sender->exchange, sender->key, 0, 0, NULL, sender->body),
        "amqp_basic_publish");
}

static const void *take(void *handle, bool wait) {
    struct receiver *receiver = handle;
    struct timeval at_once = {0};
    amqp_rpc_reply_t reply = amqp_consume_message(receiver->connection, &receiver->envelope, wait ? NULL : &at_once, 0);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        return receiver->envelope.message.body.bytes;
    }
    if (reply.library_error != AMQP_STATUS_TIMEOUT) {
        check(reply, "amqp_consume_message");
    }
    sched_yield();
    return NULL;
}

static void done(void *handle) {
    struct receiver *receiver = handle;
    amqp_destroy_envelope(&receiver->envelope);
    amqp_maybe_release_buffers(receiver->connection);
}

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "rabbitmq",
    .title = "RabbitMQ",
    .how = "librabbitmq with a rabbitmq-server of its own on loopback, in a memory file system; transient messages, "
           "consumed without acknowledgement, frames of 1 MiB, a fanout exchange for several receivers.",
    .bytes_max = UINT64_C(64) << 20,
    .senders_max = 256,
    .receivers_max = 256,
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
    .servers = servers,
};
