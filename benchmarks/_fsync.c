/* Records what a program makes durable below $RECORD_ROOT: a library to be preloaded.

   Each line of $RECORD_LOG is one event in order: CREATE inode path, SYNC inode number, DIR path, RENAME from to,
   LINK from to, UNLINK path, MKDIR path, RMDIR path, and MARK text for a file name below the folder "marks". At each SYNC
   the file's content is kept as $RECORD_LOG.number. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static __thread int inside = 0;

static const char *whole(int folder, const char *path, char *buffer) {
  char base[PATH_MAX / 2];
  if (path[0] == '/') return path;
  if (folder == AT_FDCWD) {
    if (!getcwd(base, sizeof base)) return path;
  } else {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t n = readlink(link, base, sizeof base - 1);
    if (n < 0) return path;
    base[n] = 0;
  }
  if (snprintf(buffer, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return path;
  return buffer;
}

static int below(const char *path) {
  const char *root = getenv("RECORD_ROOT");
  return root && strncmp(path, root, strlen(root)) == 0;
}

static void note(const char *format, ...) {
  const char *log = getenv("RECORD_LOG");
  if (!log || inside) return;
  inside = 1;
  char line[3 * PATH_MAX];
  va_list values;
  va_start(values, format);
  int n = vsnprintf(line, sizeof line - 1, format, values);
  va_end(values);
  line[n++] = '\n';
  int fd = open(log, O_WRONLY | O_APPEND | O_CREAT, 0644);
  if (fd >= 0) { if (write(fd, line, n) < 0) {} close(fd); }
  inside = 0;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__) = 0; if (!real) real = dlsym(RTLD_NEXT, name)

static void created(int fd, int existed, const char *path) {
  struct stat st;
  if (fd >= 0 && !existed && !inside && below(path) && fstat(fd, &st) == 0)
    note("CREATE\t%lu\t%s", (unsigned long)st.st_ino, path);
}

static int there(const char *path) { struct stat st; return lstat(path, &st) == 0; }

#define OPEN(name)                                                              \
  int name(const char *path, int flags, ...) {                                  \
    REAL(int, #name, const char *, int, ...);                                   \
    va_list values; va_start(values, flags); int mode = va_arg(values, int); va_end(values); \
    char buffer[PATH_MAX]; const char *full = whole(AT_FDCWD, path, buffer);    \
    int existed = (flags & O_CREAT) ? there(full) : 1;                          \
    int fd = real(path, flags, mode); created(fd, existed, full); return fd; }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                            \
  int name(int folder, const char *path, int flags, ...) {                      \
    REAL(int, #name, int, const char *, int, ...);                              \
    va_list values; va_start(values, flags); int mode = va_arg(values, int); va_end(values); \
    char buffer[PATH_MAX]; const char *full = whole(folder, path, buffer);      \
    int existed = (flags & O_CREAT) ? there(full) : 1;                          \
    int fd = real(folder, path, flags, mode); created(fd, existed, full); return fd; }
OPENAT(openat)
OPENAT(openat64)

static void synced(int fd) {
  char link[64], path[PATH_MAX];
  struct stat st;
  if (inside || fstat(fd, &st)) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return;
  path[n] = 0;
  if (!below(path)) return;
  if (S_ISDIR(st.st_mode)) { note("DIR\t%s", path); return; }
  inside = 1;
  char name[PATH_MAX];
  snprintf(name, sizeof name, "%s.%d.XXXXXX", getenv("RECORD_LOG"), (int)getpid());
  int out = mkstemp(name), in = open(link, O_RDONLY);
  char block[65536];
  ssize_t got;
  while (in >= 0 && (got = read(in, block, sizeof block)) > 0) if (write(out, block, got) < 0) break;
  if (in >= 0) close(in);
  close(out);
  inside = 0;
  note("SYNC\t%lu\t%s", (unsigned long)st.st_ino, name);
}

int fsync(int fd) { REAL(int, "fsync", int); int r = real(fd); if (r == 0) synced(fd); return r; }
int fdatasync(int fd) { REAL(int, "fdatasync", int); int r = real(fd); if (r == 0) synced(fd); return r; }

#define TWO(name, word)                                                         \
  int name(const char *from, const char *to) {                                  \
    REAL(int, #name, const char *, const char *);                               \
    char a[PATH_MAX], b[PATH_MAX];                                              \
    const char *x = whole(AT_FDCWD, from, a), *y = whole(AT_FDCWD, to, b);      \
    int r = real(from, to); if (r == 0 && below(y)) note(word "\t%s\t%s", x, y); return r; }
TWO(rename, "RENAME")
TWO(link, "LINK")
int renameat(int f, const char *from, int t, const char *to) {
  REAL(int, "renameat", int, const char *, int, const char *);
  char a[PATH_MAX], b[PATH_MAX]; const char *x = whole(f, from, a), *y = whole(t, to, b);
  int r = real(f, from, t, to); if (r == 0 && below(y)) note("RENAME\t%s\t%s", x, y); return r; }
int linkat(int f, const char *from, int t, const char *to, int flags) {
  REAL(int, "linkat", int, const char *, int, const char *, int);
  char a[PATH_MAX], b[PATH_MAX]; const char *x = whole(f, from, a), *y = whole(t, to, b);
  int r = real(f, from, t, to, flags); if (r == 0 && below(y)) note("LINK\t%s\t%s", x, y); return r; }
int unlink(const char *path) {
  REAL(int, "unlink", const char *);
  char a[PATH_MAX]; const char *x = whole(AT_FDCWD, path, a);
  if (below(x) && strstr(x, "/marks/")) { note("MARK\t%s", strstr(x, "/marks/") + 7); }
  int r = real(path); if (r == 0 && below(x)) note("UNLINK\t%s", x); return r; }
int unlinkat(int f, const char *path, int flags) {
  REAL(int, "unlinkat", int, const char *, int);
  char a[PATH_MAX]; const char *x = whole(f, path, a);
  int r = real(f, path, flags); if (r == 0 && below(x)) note(flags & AT_REMOVEDIR ? "RMDIR\t%s" : "UNLINK\t%s", x); return r; }
int rmdir(const char *path) {
  REAL(int, "rmdir", const char *);
  char a[PATH_MAX]; const char *x = whole(AT_FDCWD, path, a);
  int r = real(path); if (r == 0 && below(x)) note("RMDIR\t%s", x); return r; }
int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  char a[PATH_MAX]; const char *x = whole(AT_FDCWD, path, a);
  int r = real(path, mode); if (r == 0 && below(x)) note("MKDIR\t%s", x); return r; }
