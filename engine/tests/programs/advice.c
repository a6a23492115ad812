// What else shapes memory: brk, guard pages, advice, locks, growing stacks, holes.
#include "memory.h"
#include <netinet/in.h>
#include <sys/socket.h>

static int deep(int n) {
    volatile char frame[16 << 10];
    memset((char *)frame, n, sizeof frame);
    return n == 0 ? frame[5] : deep(n - 1) + frame[n % sizeof frame] % 3;
}

int main(void) {
    catch_faults();
    char *heap = sbrk(10 * PAGE);
    memset(heap, 'h', 10 * PAGE);
    sbrk(-6 * PAGE);
    char *more = sbrk(3 * PAGE);
    show("heap", heap, 7 * PAGE);
    printf("%d %d\n", more == heap + 4 * PAGE, fault(heap + 9 * PAGE + 4095, 1) != 0);

    char *a = mmap(0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(a, 'a', 16 * PAGE);
    mprotect(a + 3 * PAGE, PAGE, PROT_NONE);
    printf("guard %d, behind %d\n", fault(a + 3 * PAGE, 0), fault(a + 4 * PAGE, 1));
    mprotect(a + 3 * PAGE, PAGE, PROT_READ);
    printf("read only %d %d\n", fault(a + 3 * PAGE, 0), fault(a + 3 * PAGE, 1));
    munmap(a + 8 * PAGE, 2 * PAGE);
    printf("hole %d\n", fault(a + 8 * PAGE, 0));
    CHECK(madvise(a + 5 * PAGE, PAGE, MADV_DONTNEED) == 0);
    printf("free %d\n", madvise(a + 6 * PAGE, PAGE, MADV_FREE));
    show("advised", a + 4 * PAGE, 4 * PAGE);
    CHECK(madvise(a, PAGE, MADV_WIPEONFORK) == 0 && madvise(a + PAGE, PAGE, MADV_DONTFORK) == 0);
    char *s = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(s, 's', 4 * PAGE);
    CHECK(madvise(s + PAGE, PAGE, MADV_REMOVE) == 0 && madvise(s + 2 * PAGE, PAGE, MADV_DONTNEED) == 0);
    show("removed", s, 4 * PAGE);
    fflush(stdout);
    if (fork() == 0) {
        show("wiped", a, PAGE);
        printf("not there %d\n", fault(a + PAGE, 0));
        s[5] = 'c';
        a[2 * PAGE] = 'c';
        exit(0);
    }
    wait(0);
    show("shared", s, 4 * PAGE);
    show("own", a, 3 * PAGE);
    int fd = file_of("removed", 4);
    char *f = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(madvise(f + PAGE, 2 * PAGE, MADV_REMOVE) == 0);
    show("file with a hole", f, 4 * PAGE);
    CHECK(mlock(a, PAGE) == 0 && munlock(a, PAGE) == 0);
    printf("%d\n", (int)syscall(SYS_pkey_mprotect, a, PAGE, PROT_READ, -1));
    printf("%d\n", fault(a, 1));
    printf("%ld %d\n", syscall(SYS_pkey_alloc, 0, 0), errno);
    // What a peer would fill.
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(tcp >= 0 && mmap(0, PAGE, PROT_READ, MAP_SHARED, tcp, 0) == MAP_FAILED && errno == ENODEV);
    // The recorder's memory is nobody's.
    void *taken = mmap((void *)0x70000000, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    printf("%d %d\n", taken == MAP_FAILED, errno);
    void *hinted = mmap((void *)0x70000000, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%d\n", hinted != MAP_FAILED);
    unsigned char pages[4] = {9, 9, 9, 9};
    printf("%d", mincore(a + 6 * PAGE, 4 * PAGE, pages));
    printf(" %d %d %d\n", pages[0], pages[1], pages[2]);
    printf("%d %d\n", munmap(a, -1UL), munmap(a + 1, PAGE));
    char *low = mmap((void *)0x60000000, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    char *high = mmap((void *)0x90000000, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(low != MAP_FAILED && high != MAP_FAILED);
    printf("%d", munmap(low, high + PAGE - low));
    printf(" %d %d\n", fault(low, 0), fault(high, 0));

    // A stack that grows down by itself.
    char *down = mmap((void *)0x200000000, 2 * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(down != MAP_FAILED);
    for (int i = 1; i < 20; i++) down[-i * 1000] = i;
    show("grown down", down - 20 * 1000, 20 * 1000);
    // The program's stack, by more than it was given at first.
    printf("%d\n", deep(400));
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    if (limit.rlim_max >= 64 << 20) {
        limit.rlim_cur = 64 << 20;
        CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
        printf("%d\n", deep(2500));
    }
    long top = ((long)&limit & -PAGE);
    CHECK(mprotect((void *)top, PAGE, PROT_READ | PROT_WRITE | PROT_GROWSDOWN) == 0);
    printf("%d\n", deep(100));
    return 0;
}
