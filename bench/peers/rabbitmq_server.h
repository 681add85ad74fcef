/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A RabbitMQ server of the run's own, with the epmd that Erlang needs, and connections to it by librabbitmq. */
#ifndef TARN_BENCH_RABBITMQ_SERVER_H
#define TARN_BENCH_RABBITMQ_SERVER_H

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "ready.h"
#include "server.h"

#define SCRIPT "/usr/lib/rabbitmq/bin/rabbitmq-server" /* the one in /usr/sbin changes the user */
#define FRAME_BYTES (1 << 20)
#define READY_SECONDS 60
#define AMQP_CHANNEL 1

static struct server server, epmd;
static uint32_t server_users, server_port;

static inline void check(amqp_rpc_reply_t reply, const char *what) {
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        peer_fail("rabbitmq: %s: %s", what, amqp_error_string2(reply.library_error));
    }
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        peer_fail("rabbitmq: %s: refused", what);
    }
}

static inline void check_last(amqp_connection_state_t connection, const char *what) {
    check(amqp_get_rpc_reply(connection), what);
}

static inline void check_status(int status, const char *what) {
    if (status != AMQP_STATUS_OK) {
        peer_fail("rabbitmq: %s: %s", what, amqp_error_string2(status));
    }
}

static inline const char *version(void) {
    return amqp_version();
}

/* ---- server ----------------------------------------------------------------------------------------------------- */

static inline void start_epmd(const char *folder) {
    char port[16];
    snprintf(port, sizeof(port), "%" PRIu32, server_port + 2);
    const char *const command[] = {"epmd", "-port", port, "-address", "127.0.0.1", NULL};
    epmd = server_start(command, SIGKILL, folder);
    server_wait_ready(&epmd, "epmd", READY_SECONDS, server_port_answers, server_port + 2);
}

static inline void write_configuration(const char *folder) {
    char text[512];
    snprintf(text, sizeof(text),
             "listeners.tcp.1 = 127.0.0.1:%" PRIu32
             "\nframe_max = %d\nlog.console = true\nlog.console.level = warning\n"
             "log.file = false\nvm_memory_high_watermark.absolute = 2GB\n",
             server_port, FRAME_BYTES);
    server_write_file(folder, "rabbitmq.conf", text);
    server_write_file(folder, "enabled_plugins", "[].");
}

static inline void start_server(const char *folder) {
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

static inline void prepare(struct peer_channel *channel) {
    ready_prepare(channel);
    if (server_users++ > 0) {
        return;
    }
    server_port = channel->port;
    start_epmd(channel->folder);
    write_configuration(channel->folder);
    start_server(channel->folder);
}

static inline void release(struct peer_channel *channel) {
    ready_release(channel);
    if (--server_users == 0) {
        server_stop(&server);
        server_stop(&epmd);
    }
}

static inline uint32_t servers(int pids[8]) {
    pids[0] = server.pid;
    pids[1] = epmd.pid;
    return 2;
}

/* ---- connections ------------------------------------------------------------------------------------------------ */

static inline amqp_connection_state_t connect_to_server(void) {
    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    check_status(amqp_socket_open(socket, "127.0.0.1", (int)server_port), "amqp_socket_open");
    check(amqp_login(connection, "/", 0, FRAME_BYTES, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"), "amqp_login");
    amqp_channel_open(connection, AMQP_CHANNEL);
    check_last(connection, "amqp_channel_open");
    return connection;
}

static inline void disconnect(amqp_connection_state_t connection) {
    amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(connection);
}

#endif
