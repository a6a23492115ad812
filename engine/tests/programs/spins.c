/* A thread spins where nothing counts, until another sets a flag. What it has counted meanwhile is printed: a replay that
   finds another moment prints something else. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile int flag;
static volatile long in_memory;
static volatile double real = 1;

static void *sets(void *nothing)
{
    flag = 1;
    return 0;
}

static void *signals(void *main_thread)
{
    pthread_kill(*(pthread_t *)main_thread, SIGUSR1);
    return 0;
}

static void handler(int signal)
{
    flag = 1;
}

static long pure(void)
{
    while (!flag)
        ;
    return 0;
}

static long pause_(void)
{
    while (!flag)
        __asm__ volatile("pause");
    return 0;
}

/* Calls that concern nobody else. */
static long system_calls(void)
{
    struct timespec now;
    long n = 0;
    for (; !flag; n++)
        clock_gettime(CLOCK_MONOTONIC, &now);
    return n;
}

/* Two bytes of code go round. */
static long tight(void)
{
    __asm__ volatile("1: cmpl $0, (%0)\n pause\n je 1b" : : "r"(&flag) : "cc", "memory");
    return 0;
}

static long in_register(void)
{
    long n = 0;
    while (!flag) {
        n++;
        __asm__ volatile("" : "+r"(n));
    }
    return n;
}

/* Its registers are the same each time round. */
static long memory(void)
{
    __asm__ volatile("1: incq (%0)\n cmpl $0, (%1)\n je 1b" : : "r"(&in_memory), "r"(&flag) : "cc", "memory");
    return in_memory;
}

/* The outer counter is in memory only, the inner loop always takes the same way. */
static long nested(void)
{
    long inner;
    __asm__ volatile("1: incq (%1)\n mov $1000, %0\n 2: dec %0\n jne 2b\n cmpl $0, (%2)\n je 1b"
                     : "=&r"(inner) : "r"(&in_memory), "r"(&flag) : "cc", "memory");
    return in_memory;
}

__attribute__((noinline)) static int innermost(int n)
{
    in_memory += n;
    return flag;
}

__attribute__((noinline)) static int middle(int n)
{
    return innermost(n + 1) | innermost(n + 2);
}

static long calls(void)
{
    long n = 0;
    while (!middle(n & 7))
        n++;
    return n + in_memory;
}

static long floats(void)
{
    double x = 0.5;
    while (!flag)
        x = 3.9 * x * (1 - x);
    return (long)(x * 1e15);
}

static long random_(void)
{
    uint64_t x = 88172645463325252u;
    while (!flag) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return (long)x;
}

static long strings(void)
{
    static char from[1 << 16], to[1 << 16];
    long n = 0;
    while (!flag) {
        void *d = to, *s = from;
        long c = sizeof from;
        from[n++ & 0xffff]++;
        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(c) : : "memory");
    }
    return n;
}

/* Does not look at the flag: only for how long it takes. */
static long computes(void)
{
    uint64_t x = 88172645463325252u;
    for (long n = 0; n < 600000000; n++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return (long)x;
}

static long forever(void)
{
    for (long n = 0;; n++)
        real = real * 1.0000001;
}

static const struct {
    const char *name;
    long (*spin)(void);
} ways[] = {
    {"pure", pure}, {"system calls", system_calls}, {"pause", pause_}, {"tight", tight}, {"register", in_register}, {"memory", memory},
    {"nested", nested}, {"calls", calls}, {"floats", floats}, {"random", random_}, {"strings", strings},
    {"computes", computes}, {"forever", forever},
};

int main(int count, char **args)
{
    pthread_t self = pthread_self(), other;
    int by_signal = count > 2;
    if (by_signal)
        signal(SIGUSR1, handler);
    pthread_create(&other, 0, by_signal ? signals : sets, &self);
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
        if (!strcmp(ways[i].name, args[1]))
            printf("%ld\n", ways[i].spin());
    pthread_join(other, 0);
    return 0;
}
