/*
 * Preloaded into a process under test: stands between it and the disk for the files of one directory.
 *
 * DATA_SYNC_SHIM_DIR   the directory
 * DATA_SYNC_SHIM_LOG   where to note each operation
 * DATA_SYNC_SHIM       what happens at the operation of which number, such as kill:17
 *                      kill  the process is killed before it
 *                      torn  half of it is written, then the process is killed
 *                      full  from it on, no write finds room
 *                      fail  it fails, once, as on a broken disk
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum effect { NONE, FAIL, TEAR };

static const char *directory;
static size_t directory_length;
static char fault[8] = "none";
static long fault_at;
static long operations;
static int log_file = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);

__attribute__((constructor)) static void begin(void) {
  real_write = dlsym(RTLD_NEXT, "write");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  const char *what = getenv("DATA_SYNC_SHIM");
  if (what) sscanf(what, "%7[a-z]:%ld", fault, &fault_at);
  const char *log = getenv("DATA_SYNC_SHIM_LOG");
  if (log) log_file = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  directory = getenv("DATA_SYNC_SHIM_DIR");
  directory_length = directory ? strlen(directory) : 0;
}

static int is_ours(const char *path) {
  return directory && strncmp(path, directory, directory_length) == 0;
}

static int path_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX);
  if (length <= 0) return 0;
  path[length] = 0;
  return is_ours(path);
}

static void put(const void *bytes, size_t length) {
  if (real_write(log_file, bytes, length) != (ssize_t)length) abort();
}

static void note(char kind, const char *path, int64_t at, const void *bytes, size_t length) {
  if (log_file < 0) return;
  uint32_t path_length = strlen(path);
  uint64_t count = length;
  put(&kind, 1);
  put(&path_length, 4);
  put(path, path_length);
  put(&at, 8);
  put(&count, 8);
  if (length) put(bytes, length);
}

/* Called with the lock held, before each operation. */
static enum effect due(int is_write) {
  long number = ++operations;
  if (strcmp(fault, "full") == 0 && is_write && number >= fault_at) {
    errno = ENOSPC;
    return FAIL;
  }
  if (number != fault_at) return NONE;
  if (strcmp(fault, "fail") == 0) {
    errno = EIO;
    return FAIL;
  }
  if (strcmp(fault, "torn") == 0 && is_write) return TEAR;
  if (strcmp(fault, "kill") == 0 || strcmp(fault, "torn") == 0) kill(getpid(), SIGKILL);
  return NONE;
}

static ssize_t write_at(int fd, const char *path, const void *bytes, size_t length, off64_t at, int moves) {
  pthread_mutex_lock(&lock);
  ssize_t written = -1;
  switch (due(1)) {
  case FAIL:
    break;
  case TEAR:
    real_pwrite(fd, bytes, length / 2, at);
    kill(getpid(), SIGKILL);
    break;
  case NONE:
    written = moves ? real_write(fd, bytes, length) : real_pwrite(fd, bytes, length, at);
    if (written > 0) note('W', path, at, bytes, written);
  }
  int why = errno;
  pthread_mutex_unlock(&lock);
  errno = why;
  return written;
}

ssize_t write(int fd, const void *bytes, size_t length) {
  char path[PATH_MAX + 1];
  if (!directory || !path_of(fd, path)) return real_write(fd, bytes, length);
  return write_at(fd, path, bytes, length, lseek64(fd, 0, SEEK_CUR), 1);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
  char path[PATH_MAX + 1];
  if (!directory || !path_of(fd, path)) return real_pwrite(fd, bytes, length, at);
  return write_at(fd, path, bytes, length, at, 0);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
  return pwrite64(fd, bytes, length, at);
}

int ftruncate64(int fd, off64_t length) {
  char path[PATH_MAX + 1];
  if (!directory || !path_of(fd, path)) return real_ftruncate(fd, length);
  pthread_mutex_lock(&lock);
  int outcome = due(0) == FAIL ? -1 : real_ftruncate(fd, length);
  if (outcome == 0) note('T', path, length, NULL, 0);
  pthread_mutex_unlock(&lock);
  return outcome;
}

int ftruncate(int fd, off_t length) {
  return ftruncate64(fd, length);
}

static int sync_file(int fd, int (*real)(int)) {
  char path[PATH_MAX + 1];
  if (!directory || !path_of(fd, path)) return real(fd);
  pthread_mutex_lock(&lock);
  /* The disk itself need not be waited for: what a loss of power would leave is worked out from the log. */
  int outcome = due(0) == FAIL ? -1 : 0;
  if (outcome == 0) note('S', path, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return outcome;
}

int fsync(int fd) {
  return sync_file(fd, real_fsync);
}

int fdatasync(int fd) {
  return sync_file(fd, real_fdatasync);
}

int unlink(const char *path) {
  if (!is_ours(path)) return real_unlink(path);
  pthread_mutex_lock(&lock);
  int outcome = due(0) == FAIL ? -1 : real_unlink(path);
  if (outcome == 0) note('U', path, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return outcome;
}
