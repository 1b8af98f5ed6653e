/* A disk that can lose what was not synced, below every call of the interpreter (LD_PRELOAD).
 *
 * SIGKILL keeps the page cache, so it never shows a forgotten fsync. This library writes down, for
 * every file below POWERCUT_ROOT, what each change would destroy (before the change), and when a
 * sync of the file or directory began and returned. `power.py` reads that journal when the process
 * is dead and takes back what was not synced, sector by sector.
 *
 * Record: 8 numbers of 8 bytes (host order), then two texts.
 *
 *   kind  inode  offset  length  old_size  mark  first_bytes  second_bytes   first ...   second ...
 *
 *   kind 1 write      first: the old bytes of [offset, offset + length), as far as there were any
 *        2 resize     length: the new size; first: the old bytes that it cuts off
 *        3 sync began mark: its number; first: the path of the file or directory
 *        4 synced     mark: the number under which it began
 *        5 create     first: path        6 remove  first: path, mark: its link in POWERCUT_SAVED
 *        7 rename     first: from, second: to, mark: link to what was replaced, 0: nothing was
 *        8 make directory, 9 remove directory   first: path
 *       10 sync failed  mark: the number under which it began; no later sync covers what it left
 *
 * Whoever maps POWERCUT_CONTROL (three 32-bit numbers) makes the disk misbehave from now on: every
 * sync takes that many milliseconds longer; the next sync fails with this errno, once; every write
 * that needs new space (beyond the end of its file, or a new file) fails with this errno.
 *
 * Does not: see mmap, copy_file_range or io_uring (the nodes use none of them), or handle an exec.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, RESIZE, SYNC_BEGAN, SYNCED, CREATE, REMOVE, RENAME, MAKE_DIRECTORY, REMOVE_DIRECTORY, SYNC_FAILED };

struct control { volatile uint32_t sync_delay_ms, sync_errno, write_errno; };

static char root[4096];
static size_t root_bytes;
static char saved[4096];
static int journal = -1;
static struct control *control;
static uint64_t marks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        fprintf(stderr, "powercut: no %s\n", name);
        _exit(70);
    }
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *given = getenv("POWERCUT_ROOT"), *path = getenv("POWERCUT_JOURNAL");
    const char *links = getenv("POWERCUT_SAVED"), *orders = getenv("POWERCUT_CONTROL");
    if (given == NULL || path == NULL || links == NULL || orders == NULL)
        return;
    snprintf(root, sizeof root, "%s", given);
    root_bytes = strlen(root);
    snprintf(saved, sizeof saved, "%s", links);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, orders, O_RDWR | O_CLOEXEC, 0);
    if (fd >= 0) {
        control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (control == MAP_FAILED)
            control = NULL;
        syscall(SYS_close, fd);
    }
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (journal < 0 || control == NULL) {
        fprintf(stderr, "powercut: cannot open %s or %s\n", path, orders);
        _exit(70);
    }
    /* Numbers go on over restarts of the process: time is far ahead of what one start uses up. */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    marks = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t next_mark(void) { return __atomic_add_fetch(&marks, 1, __ATOMIC_SEQ_CST); }

static int below_root(const char *path) {
    return root_bytes && strncmp(path, root, root_bytes) == 0 &&
           (path[root_bytes] == '/' || path[root_bytes] == 0);
}

static void note(uint64_t kind, uint64_t inode, uint64_t offset, uint64_t length, uint64_t old_size,
                 uint64_t mark, const void *first, size_t first_bytes, const void *second,
                 size_t second_bytes) {
    uint64_t head[8] = {kind, inode, offset, length, old_size, mark, first_bytes, second_bytes};
    struct iovec parts[3] = {{head, sizeof head}, {(void *)first, first_bytes}, {(void *)second, second_bytes}};
    ssize_t whole = (ssize_t)(sizeof head + first_bytes + second_bytes);
    pthread_mutex_lock(&lock);
    if (syscall(SYS_writev, journal, parts, 3) != whole) {
        fprintf(stderr, "powercut: the journal takes no more\n");
        _exit(70);
    }
    pthread_mutex_unlock(&lock);
}

/* Return whether `fd` is a regular file below the root. */
static int tracked(int fd, struct stat *found, char *path, size_t path_bytes) {
    if (journal < 0 || fstat(fd, found) != 0 || !(S_ISREG(found->st_mode) || S_ISDIR(found->st_mode)))
        return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlink, link, path, path_bytes - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return below_root(path);
}

static void note_write(int fd, uint64_t offset, uint64_t length, uint64_t kind) {
    struct stat found;
    char path[4096];
    int errno_before = errno;
    if (length == 0 && kind == WRITE)
        return;
    if (tracked(fd, &found, path, sizeof path) && S_ISREG(found.st_mode)) {
        uint64_t size = (uint64_t)found.st_size, from = kind == WRITE ? offset : length;
        uint64_t end = kind == WRITE ? offset + length : size;
        uint64_t old_bytes = from < size ? (end < size ? end : size) - from : 0;
        char *old = old_bytes ? malloc(old_bytes) : NULL;
        /* A descriptor without the right to read: another one of the same file has it. */
        char again[64];
        snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
        int reader = old_bytes ? (int)syscall(SYS_openat, AT_FDCWD, again, O_RDONLY | O_CLOEXEC, 0) : -1;
        uint64_t got = 0;
        while (got < old_bytes) {
            ssize_t part = syscall(SYS_pread64, reader, old + got, old_bytes - got, from + got);
            if (part <= 0)
                break;
            got += (uint64_t)part;
        }
        if (reader >= 0)
            syscall(SYS_close, reader);
        note(kind, found.st_ino, offset, length, size, 0, old, got, NULL, 0);
        free(old);
    }
    errno = errno_before;
}

/* Whether a change of `fd` that ends at `end` is to fail; a full disk refuses new space only. */
static int refused(int fd, uint64_t end) {
    struct stat found;
    char path[4096];
    if (control == NULL || control->write_errno == 0 || !tracked(fd, &found, path, sizeof path))
        return 0;
    if (end <= (uint64_t)found.st_size)
        return 0;
    errno = (int)control->write_errno;
    return 1;
}

static int absolute(int directory, const char *path, char *whole, size_t whole_bytes) {
    if (journal < 0)
        return 0;
    if (path[0] == '/') {
        snprintf(whole, whole_bytes, "%s", path);
    } else {
        char link[64], base[4096];
        if (directory == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t length = syscall(SYS_readlink, link, base, sizeof base - 1);
        if (length < 0)
            return 0;
        base[length] = 0;
        if (snprintf(whole, whole_bytes, "%s/%s", base, path) >= (int)whole_bytes)
            return 0;
    }
    return below_root(whole);
}

static void note_path(uint64_t kind, const char *first, const char *second, uint64_t mark) {
    note(kind, 0, 0, 0, 0, mark, first, strlen(first), second, second ? strlen(second) : 0);
}

/* Keep what `path` names under a number, so that it can come back; 0: there is nothing. */
static uint64_t save(const char *path) {
    char link[4096 + 32];
    uint64_t mark = next_mark();
    snprintf(link, sizeof link, "%s/%llu", saved, (unsigned long long)mark);
    return syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, link, 0) == 0 ? mark : 0;
}

/* ---- files come and go ---- */

static int do_open(int directory, const char *path, int flags, mode_t mode) {
    char whole[4096];
    struct stat found;
    int errno_before = errno;
    int mine = absolute(directory, path, whole, sizeof whole);
    if (mine && (flags & O_CREAT) && stat(whole, &found) != 0)
        note_path(CREATE, whole, NULL, 0);
    errno = errno_before;
    int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
    if (mine && fd >= 0 && (flags & O_TRUNC)) /* seen too late for its bytes: refuse to guess */
        if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode))
            note(RESIZE, found.st_ino, 0, 0, 0, 0, NULL, 0, NULL, 0);
    return fd;
}

#define MODE(flags, mode)                                  \
    mode_t mode = 0;                                       \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                 \
        va_list rest;                                      \
        va_start(rest, flags);                             \
        mode = (mode_t)va_arg(rest, int);                  \
        va_end(rest);                                      \
    }

int open(const char *path, int flags, ...) { MODE(flags, mode) return do_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return do_open(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags, mode) return do_open(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags, mode) return do_open(at, path, flags, mode); }

int unlinkat(int at, const char *path, int flags) {
    char whole[4096];
    if (absolute(at, path, whole, sizeof whole)) {
        if (flags & AT_REMOVEDIR)
            note_path(REMOVE_DIRECTORY, whole, NULL, 0);
        else
            note_path(REMOVE, whole, NULL, save(whole));
    }
    return REAL(unlinkat)(at, path, flags);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int renameat(int from_at, const char *from, int to_at, const char *to) {
    char first[4096], second[4096];
    if (absolute(from_at, from, first, sizeof first) && absolute(to_at, to, second, sizeof second))
        note_path(RENAME, first, second, save(second));
    return REAL(renameat)(from_at, from, to_at, to);
}
int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int mkdirat(int at, const char *path, mode_t mode) {
    char whole[4096];
    struct stat found;
    if (absolute(at, path, whole, sizeof whole) && stat(whole, &found) != 0)
        note_path(MAKE_DIRECTORY, whole, NULL, 0);
    return REAL(mkdirat)(at, path, mode);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* ---- bytes ---- */

static uint64_t total(const struct iovec *parts, int count) {
    uint64_t bytes = 0;
    for (int at = 0; at < count; at++)
        bytes += parts[at].iov_len;
    return bytes;
}

static uint64_t cursor(int fd) {
    struct stat found;
    if (fcntl(fd, F_GETFL) & O_APPEND)
        return fstat(fd, &found) == 0 ? (uint64_t)found.st_size : 0;
    off_t at = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    return at < 0 ? 0 : (uint64_t)at;
}

static int is_regular(int fd) {
    struct stat found;
    int errno_before = errno;
    int regular = journal >= 0 && fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    errno = errno_before;
    return regular;
}

ssize_t write(int fd, const void *data, size_t length) {
    if (is_regular(fd)) {
        if (refused(fd, cursor(fd) + length))
            return -1;
        note_write(fd, cursor(fd), length, WRITE);
    }
    return REAL(write)(fd, data, length);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (is_regular(fd)) {
        if (refused(fd, cursor(fd) + total(parts, count)))
            return -1;
        note_write(fd, cursor(fd), total(parts, count), WRITE);
    }
    return REAL(writev)(fd, parts, count);
}

#define POSITIONED(name, declared, bytes, passed)          \
    ssize_t name declared {                                \
        if (refused(fd, (uint64_t)offset + (bytes)))       \
            return -1;                                     \
        note_write(fd, (uint64_t)offset, bytes, WRITE);    \
        return REAL(name) passed;                          \
    }
POSITIONED(pwrite, (int fd, const void *data, size_t n, off_t offset), n, (fd, data, n, offset))
POSITIONED(pwrite64, (int fd, const void *data, size_t n, off64_t offset), n, (fd, data, n, offset))
POSITIONED(pwritev, (int fd, const struct iovec *v, int n, off_t offset), total(v, n), (fd, v, n, offset))
POSITIONED(pwritev64, (int fd, const struct iovec *v, int n, off64_t offset), total(v, n), (fd, v, n, offset))
POSITIONED(pwritev2, (int fd, const struct iovec *v, int n, off_t offset, int flags), total(v, n), (fd, v, n, offset, flags))
POSITIONED(pwritev64v2, (int fd, const struct iovec *v, int n, off64_t offset, int flags), total(v, n), (fd, v, n, offset, flags))

int ftruncate(int fd, off_t size) {
    note_write(fd, 0, (uint64_t)size, RESIZE);
    return REAL(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) {
    note_write(fd, 0, (uint64_t)size, RESIZE);
    return REAL(ftruncate64)(fd, size);
}

/* posix_fallocate never shrinks; as a resize it would seem to cut off what lies beyond. */
static void note_allocate(int fd, uint64_t end) {
    struct stat found;
    if (fstat(fd, &found) == 0 && end > (uint64_t)found.st_size)
        note_write(fd, 0, end, RESIZE);
}
int posix_fallocate(int fd, off_t offset, off_t length) {
    if (refused(fd, (uint64_t)(offset + length)))
        return errno;
    note_allocate(fd, (uint64_t)(offset + length));
    return REAL(posix_fallocate)(fd, offset, length);
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    if (refused(fd, (uint64_t)(offset + length)))
        return errno;
    note_allocate(fd, (uint64_t)(offset + length));
    return REAL(posix_fallocate64)(fd, offset, length);
}

/* ---- syncs ---- */

static int do_sync(int fd, int (*sync)(int)) {
    struct stat found;
    char path[4096];
    if (!tracked(fd, &found, path, sizeof path))
        return sync(fd);
    uint64_t mark = next_mark();
    note(SYNC_BEGAN, found.st_ino, 0, 0, 0, mark, path, strlen(path), NULL, 0);
    uint32_t delay_ms = control->sync_delay_ms;
    struct timespec wait = {delay_ms / 1000, (long)(delay_ms % 1000) * 1000000};
    while (delay_ms && nanosleep(&wait, &wait) != 0 && errno == EINTR)
        continue;
    uint32_t failure = __atomic_exchange_n(&control->sync_errno, 0, __ATOMIC_SEQ_CST);
    if (failure) { /* what the kernel does: the pages count as clean, the next sync succeeds */
        note(SYNC_FAILED, found.st_ino, 0, 0, 0, mark, NULL, 0, NULL, 0);
        errno = (int)failure;
        return -1;
    }
    int result = sync(fd);
    int errno_then = errno;
    note(result == 0 ? SYNCED : SYNC_FAILED, found.st_ino, 0, 0, 0, mark, NULL, 0, NULL, 0);
    errno = errno_then;
    return result;
}
int fsync(int fd) { return do_sync(fd, REAL(fsync)); }
int fdatasync(int fd) { return do_sync(fd, REAL(fdatasync)); }
