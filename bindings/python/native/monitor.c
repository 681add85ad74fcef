/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Monitors. */
#include "binding.h"

static int monitor_open(void **ret, const char *topic, const void *options) {
    return tarn_monitor_open((tarn_monitor **)ret, topic, options);
}
static int monitor_close(void *tarn) {
    return tarn_monitor_close(tarn);
}
static int monitor_wait(void *tarn, int64_t timeout_ns) {
    return tarn_monitor_wait(tarn, timeout_ns);
}
static int monitor_interrupt(void *tarn) {
    return tarn_monitor_interrupt(tarn);
}
static int monitor_fd(void *tarn) {
    return tarn_monitor_fd(tarn);
}

static int monitor_take(Handle *handle, PyObject **ret) {
    tarn_match match;
    int taken = tarn_monitor_take(handle->tarn, &match);
    if (taken <= 0)
        return taken < 0 ? fail_status(taken) : 0;
    PyObject *command = PyUnicode_DecodeUTF8(match.command, (Py_ssize_t)strnlen(match.command, sizeof(match.command)),
                                             "backslashreplace");
    if (!command)
        return -1;
    *ret = PyObject_CallFunction(classes.match, "IIKLiINNK", match.kind, match.role, (unsigned long long)match.identity,
                                 (long long)match.opened_ns, match.pid, match.uid, PyBool_FromLong(match.foreign_pid),
                                 command, (unsigned long long)match.missed);
    return *ret ? 1 : -1;
}

static const struct option monitor_options[] = {
    OPTION(OPTION_TEXT, tarn_monitor_options, directory),
    OPTION(OPTION_TEXT, tarn_monitor_options, domain),
    OPTION(OPTION_FLAG, tarn_monitor_options, skip_present),
    OPTION(OPTION_FLAG, tarn_monitor_options, monitors),
    OPTION_SECONDS(tarn_monitor_options, look),
    OPTION(OPTION_U32, tarn_monitor_options, wait_strategy),
    OPTION_SECONDS(tarn_monitor_options, spin),
    {NULL, 0, 0},
};

static const struct kind monitor_kind = {
    .name = "monitor",
    .options = monitor_options,
    .options_bytes = sizeof(tarn_monitor_options),
    .open = monitor_open,
    .close = monitor_close,
    .wait = monitor_wait,
    .interrupt = monitor_interrupt,
    .fd = monitor_fd,
    .take = monitor_take,
};

static int monitor_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &monitor_kind, arguments, options);
}

static PyMethodDef monitor_methods[] = {
    HANDLE_WAITING_METHODS,
    {NULL, NULL, 0, NULL},
};

static PyType_Slot monitor_slots[] = {
    {Py_tp_doc, "Sees who joins a topic, who leaves it, and who dies in it."},
    {Py_tp_init, monitor_init},
    {Py_tp_methods, monitor_methods},
    {0, NULL},
};

int monitor_add_types(PyObject *module) {
    PyType_Spec spec = {"tarn_ipc._tarn.Monitor", sizeof(Handle), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                        monitor_slots};
    return add_type(module, &spec, handle_base, NULL);
}
