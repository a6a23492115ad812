// Does early what its argument says, and then what needs the strategy: threads that count.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

static pid_t id, tid;
static char text[32];
static int count;

static void *counts(void *lock) {
    for (int i = 0; i < 5; i++) {
        pthread_mutex_lock(lock);
        count++;
        pthread_mutex_unlock(lock);
        sched_yield();
    }
    return 0;
}

static int early(const char *what) {
    if (!strcmp(what, "id")) {
        id = getpid();
        tid = syscall(SYS_gettid);
    } else if (!strcmp(what, "text")) {
        snprintf(text, sizeof text, "%d", (int)getpid());
    } else if (!strcmp(what, "time")) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("%ld.%09ld\n", (long)now.tv_sec, now.tv_nsec);
    } else if (!strcmp(what, "random")) {
        unsigned long number;
        if (getrandom(&number, sizeof number, 0) != sizeof number) return 1;
        printf("%lx\n", number);
    } else if (!strcmp(what, "counter")) {
        unsigned long one = __rdtsc(), two = __rdtsc();
        printf("%d\n", one < two);
    } else if (!strcmp(what, "file")) {
        FILE *file = fopen("/proc/self/maps", "r");
        char line[256];
        if (!file || !fgets(line, sizeof line, file)) return 1;
        fclose(file);
        printf("%d\n", strchr(line, 0x2d) != 0);
    } else if (!strcmp(what, "open")) {
        if (open("/proc/self/maps", O_RDONLY) < 0) return 1;
    } else if (!strcmp(what, "output")) {
        if (write(1, "early\n", 6) != 6) return 1;
    } else if (!strcmp(what, "crash")) {
        *(volatile int *)8 = 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IONBF, 0);
    if (early(argv[1])) return 1;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], 0, counts, &lock)) return 2;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
    if (count != 15) return 3;
    if (id) {
        if (id != getpid() || tid != syscall(SYS_gettid) || getpgrp() != id) return 4;
        printf("%d\n", (int)id);
    }
    // The C library must know its thread's id, too: it says who holds this.
    pthread_mutexattr_t checks;
    pthread_mutexattr_init(&checks);
    pthread_mutexattr_settype(&checks, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_t mine;
    pthread_mutex_init(&mine, &checks);
    pthread_mutex_lock(&mine);
    if (mine.__data.__owner != syscall(SYS_gettid)) return 5;
    return 0;
}
