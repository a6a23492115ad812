// What the memory tests share. Every program prints what it sees, so that a detail missed in replay shows.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            printf("line %d: %s fails: %s\n", __LINE__, #what, strerror(errno));                                       \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

// Print a digest of memory through a system call of its own, so that replay is compared with it.
static void show(const char *name, const volatile void *at, size_t len) {
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < len; i++) hash = (hash ^ ((const volatile unsigned char *)at)[i]) * 0x100000001b3;
    char line[128];
    int n = snprintf(line, sizeof line, "%s %016lx\n", name, hash);
    write(1, line, n);
}

// A file of so many pages, each filled with its number.
static int file_of(const char *name, int pages) {
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0600);
    CHECK(fd >= 0);
    for (int i = 0; i < pages; i++) {
        char page[PAGE];
        memset(page, 'A' + i % 26, PAGE);
        CHECK(write(fd, page, PAGE) == PAGE);
    }
    return fd;
}

static sigjmp_buf recover;
static volatile int caught;
static void on_fault(int signal) {
    caught = signal;
    siglongjmp(recover, 1);
}
static void catch_faults(void) {
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGBUS, &action, 0);
}
// The signal that reading (or writing) a byte raises; 0 for none.
static int fault(volatile char *at, int writes) {
    caught = 0;
    if (!sigsetjmp(recover, 1)) {
        if (writes) *at = 'w';
        else (void)*at;
    }
    return caught;
}
