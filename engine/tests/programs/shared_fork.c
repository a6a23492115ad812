// Memory that processes share: anonymous, of a memory file, of a file that each maps itself; a futex in each.
#include "memory.h"
#include <linux/futex.h>
#include <sched.h>

static void lock(volatile int *word) {
    int seen;
    while ((seen = __sync_val_compare_and_swap(word, 0, 1)) != 0)
        if (__sync_val_compare_and_swap(word, 1, 2) != 0) syscall(SYS_futex, word, FUTEX_WAIT, 2, 0, 0, 0);
}
static void unlock(volatile int *word) {
    if (__sync_lock_test_and_set(word, 0) == 2) syscall(SYS_futex, word, FUTEX_WAKE, 1, 0, 0, 0);
}

struct shared {
    int word, other, count, turn, end;
    char log[1000];
};

static void work(struct shared *at, int me) {
    for (int i = 0; i < 20; i++) {
        lock(&at->word);
        int seen = at->count;
        if (i % 5 == me) sched_yield();
        at->log[at->end++] = '0' + me;
        at->count = seen + 1;
        unlock(&at->word);
    }
    // Takes turns with the other one.
    for (int i = 0; i < 10; i++) {
        while (__sync_fetch_and_add(&at->turn, 0) % 2 != me)
            syscall(SYS_futex, &at->turn, FUTEX_WAIT, 2 * i - 1 + me, 0, 0, 0);
        at->log[at->end++] = 'a' + me;
        __sync_fetch_and_add(&at->turn, 1);
        syscall(SYS_futex, &at->turn, FUTEX_WAKE, 100, 0, 0, 0);
    }
}

static void meet(const char *name, struct shared *mine, int fd) {
    pid_t child = fork();
    struct shared *at = mine;
    if (child == 0 && fd >= 0) at = (struct shared *)mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    work(at, child == 0);
    if (child == 0) _exit(at->count & 255);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    printf("%s: %d, %s\n", name, mine->count, mine->log);
    fflush(stdout);
    show(name, mine, sizeof *mine);
    CHECK(mine->count == 40 && mine->end == 60);
}

int main(void) {
    void *anonymous = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    meet("anonymous", anonymous, -1);
    int memory = memfd_create("shared", 0);
    CHECK(ftruncate(memory, PAGE) == 0);
    meet("memory file", mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0), memory);
    int fd = open("meet", O_CREAT | O_TRUNC | O_RDWR, 0600);
    CHECK(ftruncate(fd, PAGE) == 0);
    meet("file", mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), fd);
    // The child writes the file that the parent has mapped.
    char *seen = mmap(0, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (fork() == 0) {
        ftruncate(fd, 2 * PAGE);
        pwrite(fd, "from the child", 14, PAGE + 9);
        _exit(0);
    }
    wait(0);
    show("written by another", seen, 2 * PAGE);
    // System V.
    int id = shmget(IPC_PRIVATE, 3 * PAGE - 100, IPC_CREAT | 0600);
    char *segment = shmat(id, 0, 0);
    CHECK(segment != (void *)-1);
    strcpy(segment + PAGE, "parent");
    if (fork() == 0) {
        char *mine = shmat(id, 0, SHM_RDONLY);
        show("attached", mine, 3 * PAGE);
        strcpy(segment + 2 * PAGE, "child");
        show("attached", mine, 3 * PAGE);
        shmdt(mine);
        _exit(0);
    }
    wait(0);
    show("segment", segment, 3 * PAGE);
    meet("segment", shmat(id, 0, 0), -1);
    CHECK(shmdt(segment) == 0 && shmctl(id, IPC_RMID, 0) == 0);
    return 0;
}
