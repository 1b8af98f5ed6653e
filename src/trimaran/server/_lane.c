/* A thread that writes and syncs without Python: the way of a journal round to the disk.
 *
 * A round written by a Python thread asks for the interpreter five times (taking the work, after the
 * write, after the sync, telling the loop, waiting again), each time against the event loop that is
 * busy with the next round. This thread never does: `submit` lends it the buffers, it writes and
 * syncs, and a readable descriptor tells the loop to `take` what came of it.
 *
 * Invariants: one write at a time; the buffers are held from `submit` to `take` (or `close`); the
 * sync is called only after every byte was taken by the system; no signal is handled here.
 * Limited API of Python 3.11: one file serves all later versions. Linux only.
 * Does not: retry, know what is written, or decide what a failure means.
 */

#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Raised with every change of what a function takes or returns; `native_lane.py` expects it. */
#define INTERFACE 1

#define BUFFERS_MAX 1024 /* IOV_MAX on Linux */
#define NANOSECOND 1e-9

enum state { IDLE, SUBMITTED, ENDED };
enum outcome { SYNCED, UNWRITTEN, UNSYNCED };

typedef struct {
    PyObject_HEAD
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t submitted;
    enum state state;
    int is_closing;
    int is_running;
    int wake;
    int descriptor;
    off_t position;
    off_t uncache_start;
    off_t uncache_bytes;
    int count;
    Py_buffer views[BUFFERS_MAX];
    struct iovec parts[BUFFERS_MAX];
    enum outcome outcome;
    int error;
    double begun_s;
    double ended_s;
} Lane;

static double
now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * NANOSECOND;
}

/* Write all parts; return 0 or the error. A disk that takes nothing at all is full. */
static int
write_all(Lane *lane)
{
    struct iovec *part = lane->parts;
    int left = lane->count;
    off_t position = lane->position;

    while (left > 0) {
        ssize_t written = pwritev2(lane->descriptor, part, left, position, 0);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? errno : ENOSPC;
        }
        position += written;
        while (left > 0 && (size_t)written >= part->iov_len) {
            written -= (ssize_t)part->iov_len;
            part++;
            left--;
        }
        if (left > 0) {
            part->iov_base = (char *)part->iov_base + written;
            part->iov_len -= (size_t)written;
        }
    }
    return 0;
}

static void
carry_out(Lane *lane)
{
    lane->begun_s = now_s();
    lane->outcome = UNWRITTEN;
    lane->error = write_all(lane);
    if (lane->error == 0) {
        lane->outcome = UNSYNCED;
        if (fdatasync(lane->descriptor) != 0) {
            lane->error = errno;
        }
        else {
            lane->outcome = SYNCED;
        }
    }
    lane->ended_s = now_s();
}

static void *
serve(void *argument)
{
    Lane *lane = argument;
    const uint64_t one = 1;

    pthread_mutex_lock(&lane->mutex);
    for (;;) {
        while (lane->state != SUBMITTED && !lane->is_closing) {
            pthread_cond_wait(&lane->submitted, &lane->mutex);
        }
        if (lane->state != SUBMITTED) {
            break;
        }
        off_t start = lane->uncache_start;
        off_t bytes = lane->uncache_bytes;
        int descriptor = lane->descriptor;
        pthread_mutex_unlock(&lane->mutex);
        carry_out(lane);
        int is_synced = lane->outcome == SYNCED;
        pthread_mutex_lock(&lane->mutex);
        lane->state = ENDED;
        /* An eventfd takes a small number as long as it is open; the loop drains it. */
        ssize_t told = write(lane->wake, &one, sizeof one);
        (void)told;
        if (is_synced && bytes > 0) {
            /* Advice: what it answers changes nothing, and the loop need not wait for it. */
            pthread_mutex_unlock(&lane->mutex);
            (void)posix_fadvise(descriptor, start, bytes, POSIX_FADV_DONTNEED);
            pthread_mutex_lock(&lane->mutex);
        }
    }
    pthread_mutex_unlock(&lane->mutex);
    return NULL;
}

static void
release(Lane *lane)
{
    for (int at = 0; at < lane->count; at++) {
        PyBuffer_Release(&lane->views[at]);
    }
    lane->count = 0;
}

/* Start the thread with all signals blocked: they are the main thread's. Returns an error number. */
static int
start(Lane *lane)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&lane->thread, NULL, serve, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static PyObject *
lane_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Lane *lane = (Lane *)allocate(type, 0);
    (void)args;
    (void)keywords;

    if (lane == NULL) {
        return NULL;
    }
    pthread_mutex_init(&lane->mutex, NULL);
    pthread_cond_init(&lane->submitted, NULL);
    lane->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = lane->wake < 0 ? errno : start(lane);
    if (error != 0) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(lane);
        return NULL;
    }
    lane->is_running = 1;
    return (PyObject *)lane;
}

PyDoc_STRVAR(fileno_doc, "fileno() -> int\n\nThe descriptor that is readable when `take` has something.");

static PyObject *
lane_fileno(Lane *lane, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(lane->wake);
}

PyDoc_STRVAR(submit_doc,
"submit(descriptor, position, buffers, uncache_start, uncache_bytes)\n\n"
"Write the buffers one after the other from `position` on, then fdatasync; after that advise the\n"
"system to forget its copy of `uncache_bytes` bytes of the file. At most 1,024 buffers.\n"
"Raises ValueError: too many, or one is under way, or the lane is closed.");

static PyObject *
lane_submit(Lane *lane, PyObject *args)
{
    int descriptor;
    long long position, uncache_start, uncache_bytes;
    PyObject *buffers;

    if (!PyArg_ParseTuple(args, "iLOLL", &descriptor, &position, &buffers, &uncache_start,
                          &uncache_bytes)) {
        return NULL;
    }
    if (lane->count != 0 || !lane->is_running) {
        PyErr_SetString(PyExc_ValueError, "one write at a time, of an open lane");
        return NULL;
    }
    Py_ssize_t count = PySequence_Size(buffers);
    if (count < 1 || count > BUFFERS_MAX) {
        PyErr_Format(PyExc_ValueError, "1 to %d buffers, not %zd", BUFFERS_MAX, count);
        return NULL;
    }
    for (Py_ssize_t at = 0; at < count; at++) {
        PyObject *buffer = PySequence_GetItem(buffers, at);
        if (buffer == NULL || PyObject_GetBuffer(buffer, &lane->views[at], PyBUF_SIMPLE) < 0) {
            Py_XDECREF(buffer);
            release(lane);
            return NULL;
        }
        Py_DECREF(buffer);
        lane->parts[at].iov_base = lane->views[at].buf;
        lane->parts[at].iov_len = (size_t)lane->views[at].len;
        lane->count++;
    }
    pthread_mutex_lock(&lane->mutex);
    lane->descriptor = descriptor;
    lane->position = (off_t)position;
    lane->uncache_start = (off_t)uncache_start;
    lane->uncache_bytes = (off_t)uncache_bytes;
    lane->state = SUBMITTED;
    pthread_cond_signal(&lane->submitted);
    pthread_mutex_unlock(&lane->mutex);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(take_doc,
"take() -> (outcome, error number, begun_s, ended_s) or None\n\n"
"What came of the write: 0 synced, 1 not all written, 2 written but not synced; the times are\n"
"CLOCK_MONOTONIC. None: nothing ended since.");

static PyObject *
lane_take(Lane *lane, PyObject *unused)
{
    uint64_t told;
    (void)unused;

    ssize_t drained = read(lane->wake, &told, sizeof told);
    (void)drained;
    pthread_mutex_lock(&lane->mutex);
    int has_ended = lane->state == ENDED;
    if (has_ended) {
        lane->state = IDLE;
    }
    pthread_mutex_unlock(&lane->mutex);
    if (!has_ended) {
        Py_RETURN_NONE;
    }
    release(lane);
    return Py_BuildValue("iidd", (int)lane->outcome, lane->error, lane->begun_s, lane->ended_s);
}

PyDoc_STRVAR(close_doc,
"close(timeout_s) -> bool\n\n"
"Let a write under way end, then end the thread. False: it was still at it after `timeout_s` (a\n"
"dying disk); it is left alone with its buffers. Closing again does nothing.");

static PyObject *
lane_close(Lane *lane, PyObject *args)
{
    double timeout_s;
    struct timespec until;
    int error;

    if (!PyArg_ParseTuple(args, "d", &timeout_s)) {
        return NULL;
    }
    if (!lane->is_running) {
        Py_RETURN_TRUE;
    }
    pthread_mutex_lock(&lane->mutex);
    lane->is_closing = 1;
    pthread_cond_signal(&lane->submitted);
    pthread_mutex_unlock(&lane->mutex);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)timeout_s;
    Py_BEGIN_ALLOW_THREADS
    error = pthread_timedjoin_np(lane->thread, NULL, &until);
    Py_END_ALLOW_THREADS
    lane->is_running = 0;
    if (error != 0) {
        pthread_detach(lane->thread);
        Py_INCREF((PyObject *)lane); /* the thread still uses it */
        Py_RETURN_FALSE;
    }
    release(lane);
    close(lane->wake);
    lane->wake = -1;
    Py_RETURN_TRUE;
}

static void
lane_dealloc(Lane *lane)
{
    PyTypeObject *type = Py_TYPE((PyObject *)lane);
    freefunc deallocate = (freefunc)PyType_GetSlot(type, Py_tp_free);

    if (lane->is_running) {
        pthread_mutex_lock(&lane->mutex);
        lane->is_closing = 1;
        pthread_cond_signal(&lane->submitted);
        pthread_mutex_unlock(&lane->mutex);
        Py_BEGIN_ALLOW_THREADS
        pthread_join(lane->thread, NULL);
        Py_END_ALLOW_THREADS
    }
    release(lane);
    if (lane->wake >= 0) {
        close(lane->wake);
    }
    deallocate(lane);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef METHODS[] = {
    {"fileno", (PyCFunction)lane_fileno, METH_NOARGS, fileno_doc},
    {"submit", (PyCFunction)lane_submit, METH_VARARGS, submit_doc},
    {"take", (PyCFunction)lane_take, METH_NOARGS, take_doc},
    {"close", (PyCFunction)lane_close, METH_VARARGS, close_doc},
    {NULL, NULL, 0, NULL}};

/* CPython asks for a function's address in a `void *`, which ISO C does not know. */
__extension__ static PyType_Slot TYPE_SLOTS[] = {
    {Py_tp_new, lane_new}, {Py_tp_dealloc, lane_dealloc}, {Py_tp_methods, METHODS}, {0, NULL}};

static PyType_Spec LANE = {"trimaran.server._lane.Lane", sizeof(Lane), 0, Py_TPFLAGS_DEFAULT,
                           TYPE_SLOTS};

static int
execute(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&LANE);
    int result = type == NULL ? -1 : PyModule_AddObjectRef(module, "Lane", type);
    Py_XDECREF(type);
    return result < 0 ? -1 : PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

__extension__ static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_lane", "A thread that writes and syncs without Python.", 0, NULL,
    SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__lane(void)
{
    return PyModuleDef_Init(&MODULE);
}
