// Correct under every schedule, and full of what code that is taken apart could break: jumps by table, computed ones,
// long jumps, signal handlers, cancelled threads, locks of every kind, the red zone, vectors, flags that are used late.
#define _GNU_SOURCE
#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t shared = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t semaphore;
static pthread_spinlock_t spin;
static long guarded, spun, written, turns, cleaned;
static atomic_long counted;
static _Atomic unsigned char narrow;
static volatile sig_atomic_t signals;

static void handler(int number) {
    signals += number == SIGUSR1;
    atomic_fetch_add(&counted, 1);
}

static void clean(void *unused) {
    atomic_fetch_add((atomic_long *)&cleaned, 1);
}

static void *cancelled(void *unused) {
    pthread_cleanup_push(clean, NULL);
    for (;;)
        pause();
    pthread_cleanup_pop(1);
    return unused;
}

// A table of jumps.
static long by_table(unsigned operation, long value) {
    switch (operation) {
    case 0: value += 3; break;
    case 1: value ^= 5; break;
    case 2: value *= 7; break;
    case 3: value -= 11; break;
    case 4: value <<= 1; break;
    case 5: value = -value; break;
    case 6: value |= 17; break;
    case 7: value &= 0xffff; break;
    }
    return value;
}

// Computed jumps, as of interpreters.
static long interpreted(const char *program, long value) {
    static void *const labels[] = {&&add, &&flip, &&twice, &&end};
    goto *labels[*program - 'a'];
add:
    value += 1;
    goto *labels[*++program - 'a'];
flip:
    value ^= 2;
    goto *labels[*++program - 'a'];
twice:
    value *= 2;
    goto *labels[*++program - 'a'];
end:
    return value;
}

static __attribute__((noinline)) long jumps(int depth, jmp_buf back) {
    if (depth == 0)
        longjmp(back, 42);
    return jumps(depth - 1, back) + 1;
}

// A leaf function that keeps its locals below the stack pointer.
static __attribute__((noinline)) long leaf(atomic_long *cell, long value) {
    volatile long locals[12];
    for (int i = 0; i < 12; i++)
        locals[i] = value + i;
    atomic_fetch_add(cell, 1);
    long sum = 0;
    for (int i = 0; i < 12; i++)
        sum += locals[i];
    return sum;
}

// A carry that is used after an exchange, which leaves flags alone.
static __attribute__((noinline)) unsigned long carried(unsigned long *cell, unsigned long value) {
    unsigned long kept = value, carry;
    __asm__ volatile("stc\n\txchgq %0, (%2)\n\tsbbq %1, %1" : "+r"(kept), "=r"(carry) : "r"(cell) : "memory", "cc");
    return kept - carry;
}

static void *work(void *number) {
    long which = (long)number, own = 0, local = 0;
    atomic_long cell = 0;
    unsigned long exchanged = 5;
    jmp_buf back;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 4; i++) {
        pthread_mutex_lock(&lock);
        guarded += 1;
        pthread_mutex_unlock(&lock);
        pthread_spin_lock(&spin);
        spun += 1;
        pthread_spin_unlock(&spin);
        if (i % 2) {
            pthread_rwlock_wrlock(&shared);
            written += 1;
        } else {
            pthread_rwlock_rdlock(&shared);
            assert(written <= 6);
        }
        pthread_rwlock_unlock(&shared);
        atomic_fetch_add(&counted, 1);
        atomic_fetch_xor(&narrow, 1);
        own = by_table(i, own) + interpreted("abcd", own);
        assert(leaf(&cell, own) == own * 12 + 66);
        assert(carried(&exchanged, 9) == (i ? 10 : 6));
        if (setjmp(back) == 0)
            local += jumps(5, back);
        sem_wait(&semaphore);
        sem_post(&semaphore);
        if (i == 2)
            raise(SIGUSR1);
    }
    assert(cell == 4 && local == 0 && exchanged == 9);
    pthread_mutex_lock(&lock);
    while (turns != which)
        pthread_cond_wait(&changed, &lock);
    turns += 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(void) {
    signal(SIGUSR1, handler);
    pthread_barrier_init(&barrier, NULL, 3);
    sem_init(&semaphore, 0, 1);
    pthread_spin_init(&spin, 0);
    pthread_t threads[3], victim;
    pthread_create(&victim, NULL, cancelled, NULL);
    for (long i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    pthread_cancel(victim);
    pthread_join(victim, NULL);
    assert(guarded == 12 && spun == 12 && written == 6 && turns == 3 && cleaned == 1);
    assert(counted == 12 + 3 && narrow == 0);
    char text[64];
    memset(text, 'x', sizeof text);
    text[63] = 0;
    printf("%zu %ld\n", strlen(text), (long)counted);
    return 0;
}
