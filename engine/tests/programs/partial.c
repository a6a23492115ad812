// Calls that fail half-way, or whose memory is no longer what it was: what they have done up to there stays done.
#include "memory.h"

static char *pages(int count, int with) {
    char *at = mmap(0, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    memset(at, with, count * PAGE);
    return at;
}

static void outcome(const char *what, long result) {
    printf("%s: %ld %d\n", what, result == -1 ? -1 : 0, result == -1 ? errno : 0);
}

int main(void) {
    catch_faults();
    // More than once: from the second time on the call site is one of the buffer's.
    for (int i = 0; i < 4; i++) {
        char *a = pages(4, 'a');
        munmap(a + 2 * PAGE, PAGE);
        outcome("over a hole", madvise(a, 4 * PAGE, MADV_DONTNEED));
        show("on both sides", a, 2 * PAGE);
        show("behind", a + 3 * PAGE, PAGE);
        char *b = pages(4, 'b');
        CHECK(mlock(b + 2 * PAGE, PAGE) == 0);
        outcome("over a locked page", madvise(b, 4 * PAGE, MADV_DONTNEED));
        show("up to it", b, 4 * PAGE);
        CHECK(munlock(b + 2 * PAGE, PAGE) == 0);
        outcome("over an unlocked page", madvise(b, 4 * PAGE, MADV_DONTNEED));
        show("all", b, 4 * PAGE);
    }
    int fd = file_of("merged", 4);
    char *shared = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = pages(3, 'p');
    CHECK(mmap(private + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED);
    outcome("wiped on fork", madvise(private, 3 * PAGE, MADV_WIPEONFORK));
    outcome("removed", madvise(private, 3 * PAGE, MADV_REMOVE));
    outcome("protected", mprotect(private - PAGE * 0, 1L << 40, PROT_READ));
    fflush(stdout);
    if (fork() == 0) {
        show("wiped", private, 2 * PAGE);
        exit(0);
    }
    wait(0);

    // A page that is mapped again becomes one with its neighbours.
    for (int flags = MAP_SHARED; flags <= MAP_PRIVATE; flags++)
        for (int grown = 2; grown <= 8; grown += 2) {
            char *m = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
            m[0] = 'x', m[3 * PAGE] = 'y';
            CHECK(mmap(m + PAGE, PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, PAGE) != MAP_FAILED);
            char *moved = mremap(m, 4 * PAGE, grown * PAGE, MREMAP_MAYMOVE);
            CHECK(moved != MAP_FAILED);
            char *elsewhere = pages(9, 'e');
            moved = mremap(moved, grown * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere + PAGE);
            CHECK(moved == elsewhere + PAGE);
            show("moved", moved, (grown < 3 ? grown : 3) * PAGE);
            show("around", elsewhere + 4 * PAGE, 5 * PAGE);
        }

    // A call that fails may have made room before.
    char *room = pages(3, 'r');
    void *back = mremap(shared, 2 * PAGE, 1L << 46, MREMAP_MAYMOVE | MREMAP_FIXED, room);
    outcome("too large", back == MAP_FAILED ? -1 : 0);
    printf("%d %d %d\n", fault(room, 0), fault(room + 2 * PAGE, 0), fault(shared + PAGE, 0));

    // A segment whose first page, and another one, are somebody else's.
    int id = shmget(IPC_PRIVATE, 6 * PAGE, 0600 | IPC_CREAT);
    char *segment = shmat(id, 0, 0);
    shmctl(id, IPC_RMID, 0);
    CHECK(segment != (void *)-1);
    memset(segment, 's', 6 * PAGE);
    CHECK(munmap(segment, PAGE) == 0);
    CHECK(mmap(segment + 3 * PAGE, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    segment[3 * PAGE] = 'o';
    outcome("detached", shmdt(segment));
    for (int i = 0; i < 6; i++) printf("%d", fault(segment + i * PAGE, 0));
    printf("\n%c\n", segment[3 * PAGE]);
    outcome("once more", shmdt(segment));
    return 0;
}
