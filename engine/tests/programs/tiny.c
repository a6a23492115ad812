// Programs without a C library, so that their traces are small and the same on every machine. Each ends with exit code 0.
// What they read from the kernel they print, so that a replay that gives them anything else shows.
#include <asm/unistd.h>
#include <linux/futex.h>

typedef unsigned long word;

static word call(word number, word a, word b, word c, word d, word e, word f) {
    word result;
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    register word r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}
#define CALL(name, ...) CALL_(__NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(number, a, b, c, d, e, f, ...) call(number, (word)(a), (word)(b), (word)(c), (word)(d), (word)(e), (word)(f))
#define MUST(condition) do { if (!(condition)) CALL(exit_group, __LINE__ % 256); } while (0)

// The runtime's entry points, as the compiler calls them in instrumented programs; and its constructor.
void rrtest_hello(void);
int __tsan_atomic32_fetch_add(int *cell, int value, int order);
int __tsan_atomic32_load(int *cell, int order);

void *memset(void *to, int byte, word len) {
    for (word at = 0; at < len; at++) ((volatile char *)to)[at] = byte;
    return to;
}

static void say(const char *what, word number) {
    char line[64];
    int len = 0;
    for (; *what; what++) line[len++] = *what;
    for (int digit = 15; digit >= 0; digit--) line[len++] = "0123456789abcdef"[number >> digit * 4 & 15];
    line[len++] = '\n';
    MUST(CALL(write, 1, line, len) == len);
}

static int is(const char *word, const char *other) {
    for (; *word && *word == *other; word++, other++)
        ;
    return *word == *other;
}

// Calls with a stop and without one, that return, write, read and open.
static void calls(void) {
    int ends[2];
    char bytes[16];
    for (int i = 0; i < 4; i++) say("process ", CALL(getpid, 0));
    MUST(CALL(pipe2, ends, 0) == 0);
    for (int i = 0; i < 4; i++) {
        MUST(CALL(write, ends[1], "some bytes", 10) == 10);
        MUST(CALL(read, ends[0], bytes, sizeof bytes) == 10);
        say("read ", *(word *)bytes);
        MUST(CALL(prctl, 15, "renamed") == 0);
    }
    struct { word seconds, nanoseconds; } now;
    for (int i = 0; i < 4; i++) {
        CALL(clock_gettime, 1, &now);
        say("time ", now.nanoseconds);
    }
    MUST(CALL(sysinfo, 0) == -14);
    for (int i = 0; i < 4; i++) MUST(CALL(close, CALL(openat, -100, "/dev/null", 0)) == 0);
    MUST(CALL(close, CALL(open, "/dev/zero", 1)) == 0);
}

// Memory that is mapped, filled, moved, unmapped; a file that is mapped.
static void memory(void) {
    char *page = (char *)CALL(mmap, 0, 8192, 3, 0x22, -1, 0);
    page[0] = page[4096] = 1;
    page = (char *)CALL(mremap, page, 8192, 16384, 1);
    say("at ", (word)page);
    MUST(CALL(mprotect, page, 4096, 1) == 0 && CALL(madvise, page + 4096, 4096, 4) == 0);
    say("dropped ", page[4096]);
    MUST(CALL(munmap, page, 16384) == 0);
    char *heap = (char *)CALL(brk, 0);
    MUST((char *)CALL(brk, heap + 8192) == heap + 8192);
    heap[8191] = 1;
    MUST((char *)CALL(brk, heap + 4096) == heap + 4096);
    int file = CALL(memfd_create, "a file", 0);
    MUST(file >= 0 && CALL(ftruncate, file, 4096) == 0 && CALL(pwrite64, file, "contents", 8, 0) == 8);
    volatile char *shared = (char *)CALL(mmap, 0, 4096, 3, 1, file, 0);
    say("mapped ", *(word *)shared);
    MUST(CALL(pwrite64, file, "changed!", 8, 0) == 8);
    say("changed ", *(word *)shared);
    MUST(CALL(munmap, shared, 4096) == 0 && CALL(close, file) == 0);
}

static int counter, turn, child_tid;
static char stacks[2][16384] __attribute__((aligned(16)));

// One call site for those who wait and those who wake.
__attribute__((noinline)) static word futex(int *cell, int operation, int value) {
    word result;
    register word r10 __asm__("r10") = 0;
    // As in a C library: what follows the call leaves room for a jump in its place.
    __asm__ volatile("syscall\n cmp $-4095, %%rax" : "=a"(result) : "a"(__NR_futex), "D"(cell), "S"(operation), "d"(value), "r"(r10) : "rcx", "r11", "memory", "cc");
    return result;
}

static void wait_for(int *cell, int value, int shared) {
    for (int now; (now = __atomic_load_n(cell, __ATOMIC_SEQ_CST)) != value;)
        futex(cell, FUTEX_WAIT | (shared ? 0 : FUTEX_PRIVATE_FLAG), now);
}

// The kernel tells who waits for a thread's end as it tells processes that share memory.
static void join(void) { wait_for(&child_tid, 0, 1); }

static void tell(int *cell, int value) {
    __atomic_store_n(cell, value, __ATOMIC_SEQ_CST);
    futex(cell, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 100);
}

// Two threads that hand something to each other, and count.
static void work(int mine) {
    for (int i = 0; i < 8; i++) {
        wait_for(&turn, mine, 0);
        __tsan_atomic32_fetch_add(&counter, 1, 5);
        tell(&turn, !mine);
    }
}

static void other(void) {
    work(1);
    CALL(exit, 0);
}

static int start(void (*body)(void), char *stack_end) {
    void **top = (void **)stack_end - 2;
    *top = body;
    int tid;
    register word r10 __asm__("r10") = (word)&child_tid;
    register word r8 __asm__("r8") = 0;
    // VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, PARENT_SETTID, CHILD_CLEARTID.
    __asm__ volatile("syscall\n test %%eax, %%eax\n jnz 1f\n xor %%ebp, %%ebp\n call *(%%rsp)\n hlt\n1:"
                     : "=a"(tid) : "a"(__NR_clone), "D"(0x350f00), "S"(top), "d"(&child_tid), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
    return tid;
}

static void threads(void) {
    MUST(start(other, stacks[0] + sizeof stacks[0]) > 0);
    work(0);
    join();
    say("counted ", counter);
}

// Ticks of one thread, and of two that touch the same.
static void tick(void) {
    for (int i = 0; i < 40; i++) __tsan_atomic32_fetch_add(&counter, 1, 5);
}

static void other_ticks(void) {
    tick();
    tell(&turn, 1);
    CALL(exit, 0);
}

static void ticks(void) {
    MUST(start(other_ticks, stacks[0] + sizeof stacks[0]) > 0);
    for (int i = 0; i < 40; i++) {
        __tsan_atomic32_fetch_add(&counter, 1, 5);
        if (i % 8 == 0) say("counter ", __tsan_atomic32_load(&counter, 5));
    }
    wait_for(&turn, 1, 0);
    join();
    say("counted ", counter);
}

// Processes that exit and are killed.
static void processes(void) {
    int status, ends[2];
    for (int i = 0; i < 2; i++) {
        MUST(CALL(pipe2, ends, 0) == 0);
        long child = CALL(fork, 0);
        if (child == 0) {
            MUST(CALL(write, ends[1], "!", 1) == 1);
            if (i) CALL(exit_group, 7);
            for (;;) CALL(pause, 0);
        }
        char byte;
        MUST(CALL(read, ends[0], &byte, 1) == 1);
        if (!i) MUST(CALL(kill, child, 9) == 0);
        MUST(CALL(wait4, child, &status, 0, 0) == child);
        say("status ", status);
    }
}

static volatile int caught;
static void handler(int signal) { caught += signal; }

__asm__("restore: mov $15, %eax\n syscall");
void restore(void);

static void handle(int signal) {
    struct { void *handler; word flags; void *restorer; word mask; } action = {handler, 0x04000000, restore, 0};
    MUST(CALL(rt_sigaction, signal, &action, 0, 8) == 0);
}

// Signals that are sent, and one that an instruction raises.
static void signals(void) {
    handle(10);
    handle(11);
    for (int i = 0; i < 3; i++) MUST(CALL(kill, CALL(getpid, 0), 10) == 0);
    say("caught ", caught);
    struct { void *handler; word flags; void *restorer; word mask; } action = {0, 0, 0, 0};
    MUST(CALL(rt_sigaction, 11, &action, 0, 8) == 0);
    *(volatile int *)0 = 1;
}

static word counter_of_time(void) {
    unsigned low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (word)high << 32 | low;
}

// Instructions that read a clock.
static void reads_at_once(void) {
    for (int i = 0; i < 4; i++) say("counter ", counter_of_time());
}

static void reads(void) {
    say("reads ", 4);
    reads_at_once();
}

// The same where what stands beside them cannot be moved, since there is a jump to it.
__asm__(".text\n.balign 16\n.type trapped, @function\ntrapped:\n.cfi_startproc\n xor %ecx, %ecx\n1: rdtsc\n2: inc %ecx\n cmp $3, %ecx\n jl 2b\n"
        " shl $32, %rdx\n or %rdx, %rax\n ret\n.cfi_endproc\n.size trapped, . - trapped");
word trapped(void);

static void traps(void) {
    say("traps ", 2);
    for (int i = 0; i < 2; i++) say("counter ", trapped());
}

// A thread that another one takes the core from, where nothing counts.
static volatile int flag;
static void sets(void) {
    flag = 1;
    CALL(exit, 0);
}

static void spins(void) {
    word n = 0;
    MUST(start(sets, stacks[0] + sizeof stacks[0]) > 0);
    while (!flag) n++;
    join();
    say("spun ", n);
}

// Becomes another program.
static void executes(char **argv) {
    char *words[] = {argv[0], "calls", 0};
    CALL(execve, argv[0], words, 0);
    MUST(0);
}

static const struct { const char *name; void (*run)(void); } PROGRAMS[] = {
    {"calls", calls}, {"memory", memory}, {"threads", threads}, {"ticks", ticks}, {"processes", processes},
    {"signals", signals}, {"reads", reads}, {"reads-at-once", reads_at_once}, {"traps", traps}, {"spins", spins},
};

__attribute__((used)) static void begin(word *stack) {
    char **argv = (char **)(stack + 1);
    rrtest_hello();
    if (is(argv[1], "executes")) executes(argv);
    for (int at = 0; at < sizeof PROGRAMS / sizeof *PROGRAMS; at++)
        if (is(argv[1], PROGRAMS[at].name)) {
            PROGRAMS[at].run();
            CALL(exit_group, 0);
        }
    CALL(exit_group, 255);
}

__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin");
