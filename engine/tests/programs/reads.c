// Instructions that read the time-stamp counter, random numbers, the core's number and the processor's identity: in threads,
// more of them than the buffer's log has room for, in stretches of code that are hard to move, and behind execve(2) with
// SIGSEGV, SIGILL and SIGTRAP blocked and ignored.
#include "show.h"
#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

static uint64_t tsc(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}
static uint64_t tscp(uint32_t *core) {
    uint32_t low, high;
    __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(*core));
    return (uint64_t)high << 32 | low;
}
static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

// Branched to just behind it, with no room in front; with a memory operand behind it; in front of a call and of a system call.
uint64_t global, flags_kept, packed(void), stored(void), called(uint64_t (*)(uint64_t)), random_retried(void);
__asm__(".text\n.balign 16\n.type packed, @function\npacked:\n.cfi_startproc\n"
        "  xor %ecx, %ecx\n1: rdtsc\n2: inc %ecx\n  cmp $3, %ecx\n  jl 2b\n  shl $32, %rdx\n  or %rdx, %rax\n  ret\n"
        ".cfi_endproc\n.size packed, . - packed\n"
        ".balign 16\n.type stored, @function\nstored:\n.cfi_startproc\n"
        "  stc\n  rdtsc\n  mov %rax, global(%rip)\n  setc flags_kept(%rip)\n  ret\n"
        ".cfi_endproc\n.size stored, . - stored\n"
        ".balign 16\n.type called, @function\ncalled:\n.cfi_startproc\n"
        "  push %rbx\n  mov %rdi, %rbx\n  rdtsc\n  mov %eax, %edi\n  call *%rbx\n  pop %rbx\n  ret\n"
        ".cfi_endproc\n.size called, . - called\n"
        ".balign 16\n.type random_retried, @function\nrandom_retried:\n.cfi_startproc\n"
        "1: rdrand %rax\n  jnc 1b\n  ret\n"
        ".cfi_endproc\n.size random_retried, . - random_retried\n");

static uint64_t same(uint64_t it) { return it; }

static uint64_t last;
static void *worker(void *arg) {
    for (int i = 0; i < 2000; i++) {
        uint64_t seen = __atomic_load_n(&last, __ATOMIC_SEQ_CST), here = tsc();
        if (here < seen) printf("the counter went back\n");
        __atomic_store_n(&last, here, __ATOMIC_SEQ_CST);
        if (i % 500 == 0) usleep(1);
    }
    return arg;
}

// The kernel forgets that a signal is blocked or ignored when an instruction raises it.
static void show_signals(const char *when) {
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, 0, &blocked);
    for (int i = 0; i < 3; i++) {
        int number = (int[]){SIGSEGV, SIGILL, SIGTRAP}[i];
        struct sigaction action;
        sigaction(number, 0, &action);
        printf("%s: %d blocked %d ignored %d\n", when, number, sigismember(&blocked, number), action.sa_handler == SIG_IGN);
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IOLBF, 0);
    uint64_t t0 = tsc(), n0 = now();
    uint32_t core, eax, ebx, ecx, edx;
    show_signals(argc > 1 ? "executed" : "started");
    uint64_t value = tscp(&core);
    printf("%llx on core %u\n", (long long)value, core);
    __cpuid(1, eax, ebx, ecx, edx);
    printf("leaf 1: %x %x, APIC id %u\n", eax, edx, ebx >> 24);
    int random = ecx >> 30 & 1;
    __cpuid_count(0xb, 0, eax, ebx, ecx, edx);
    printf("leaf 0xb: %x %x %x x2APIC id %u\n", eax, ebx, ecx, edx);
    __cpuid_count(7, 0, eax, ebx, ecx, edx);
    if (random) {
        uint64_t wide = random_retried();
        uint32_t word;
        uint16_t half;
        unsigned char got;
        __asm__ volatile("rdrand %0; setc %1" : "=r"(word), "=qm"(got)::"cc");
        __asm__ volatile("rdrand %0" : "=r"(half)::"cc");
        printf("random: %llx %x %x %d\n", (long long)wide, word, half, got);
    }
    if (ebx >> 18 & 1) {
        uint64_t seed;
        __asm__ volatile("rdseed %0" : "=r"(seed)::"cc");
        printf("seed: %llx\n", (long long)seed);
    }
    if (ecx >> 22 & 1) {
        uint64_t here;
        __asm__ volatile("rdpid %0" : "=r"(here));
        printf("core %llu\n", (long long)here);
    }
    value = packed();
    printf("packed %llx\n", (long long)value);
    stored();
    printf("stored %llx, carry %d\n", (long long)global, (int)flags_kept);
    printf("called %llx\n", (long long)called(same));
    // More than the log has room for.
    uint64_t sum = 0, before = tsc();
    for (int i = 0; i < 150000; i++) {
        uint64_t here = tsc();
        if (here < before) printf("the counter went back\n");
        before = here, sum = sum * 31 + here;
    }
    printf("sum %llx\n", (long long)sum);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], 0, worker, 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
    // As time goes by: the same rate from the first read on, whatever leaps in between.
    uint64_t t1 = tsc(), n1 = now();
    usleep(20000);
    uint64_t t2 = tsc(), n2 = now();
    double early = (double)(t1 - t0) / (n1 - n0), late = (double)(t2 - t1) / (n2 - n1), all = (double)(t2 - t0) / (n2 - n0);
    printf("rates %s\n", all > 0.1 && all < 20 && early / all > 0.5 && early / all < 2 && late / all > 0.5 && late / all < 2
        ? "agree" : "differ");
    show_signals("in the end");
    if (argc == 1) {
        sigset_t three;
        sigemptyset(&three);
        for (int i = 0; i < 3; i++) {
            int number = (int[]){SIGSEGV, SIGILL, SIGTRAP}[i];
            sigaddset(&three, number);
            signal(number, SIG_IGN);
        }
        sigprocmask(SIG_BLOCK, &three, 0);
        execl("/proc/self/exe", "reads", "again", (char *)0);
    }
    return 0;
}
