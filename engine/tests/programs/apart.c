// Threads whose descriptors are not those of their process's first thread, and a thread that waits for signals and a pipe:
// nobody can wait in their place.
#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { ROUNDS = 20 };

static int to[2], from[2];

static void *apart(void *unused) {
    char byte;
    assert(unshare(CLONE_FILES) == 0);
    // The same number is another file for the others.
    int other[2];
    assert(pipe(other) == 0 && dup2(other[0], from[0]) == from[0]);
    for (int i = 0; i < ROUNDS; i++) {
        assert(read(to[0], &byte, 1) == 1);
        assert(write(from[1], &byte, 1) == 1);
        assert(write(other[1], &byte, 1) == 1 && read(from[0], &byte, 1) == 1);
    }
    return 0;
}

static void *told(void *unused) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int fd = signalfd(-1, &set, 0);
    struct signalfd_siginfo info;
    for (int i = 0; i < ROUNDS; i++) {
        struct pollfd ready = {fd, POLLIN};
        assert(poll(&ready, 1, -1) == 1);
        assert(read(fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR1);
        assert(write(to[1], "x", 1) == 1);
    }
    return 0;
}

int main(void) {
    pthread_t a, b;
    char byte;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, 0);
    assert(pipe(to) == 0 && pipe(from) == 0);
    pthread_create(&a, 0, apart, 0);
    pthread_create(&b, 0, told, 0);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_kill(b, SIGUSR1);
        assert(read(from[0], &byte, 1) == 1);
    }
    pthread_join(a, 0);
    pthread_join(b, 0);
    return 0;
}
