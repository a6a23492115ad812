// Files larger than any memory, with little in them. Nothing here may take time or room that a hole does not.
#include "memory.h"

#define GIB (1L << 30)

int main(void) {
    int fd = memfd_create("sparse", 0);
    CHECK(fd >= 0 && ftruncate(fd, 1024 * GIB) == 0);
    CHECK(pwrite(fd, "middle", 6, 512 * GIB) == 6 && pwrite(fd, "end", 3, 1024 * GIB - 3) == 3);
    for (int i = 0; i < 2; i++) {
        char *private = mmap(0, 1024 * GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
        CHECK(private != MAP_FAILED);
        printf("%.6s %.3s %d\n", private + 512 * GIB, private + 1024 * GIB - 3, private[GIB]);
        private[0] = 'p';
        munmap(private, 1024 * GIB);
    }

    int other = memfd_create("allocated", 0);
    CHECK(ftruncate(other, 16 * GIB) == 0);
    char *shared = mmap(0, 16 * GIB, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
    CHECK(shared != MAP_FAILED);
    for (long i = 0; i < 16; i++) shared[i * GIB] = 'a' + i;
    CHECK(fallocate(other, 0, 8 * GIB, 4 * PAGE) == 0 && fallocate(other, 0, 16 * GIB, PAGE) == 0);
    CHECK(fallocate(other, FALLOC_FL_KEEP_SIZE, 17 * GIB, PAGE) == 0);
    for (long i = 0; i < 16; i++) printf("%c", shared[i * GIB]);
    // A part of it, with what has been stored there.
    CHECK(fallocate(other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * GIB + 1, 10 * GIB) == 0);
    for (long i = 0; i < 16; i++) printf("%d ", shared[i * GIB]);
    struct stat stat;
    fstat(other, &stat);
    printf("%ld\n", stat.st_size);
    CHECK(fallocate(other, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 16 * GIB) == 0);
    for (long i = 0; i < 16; i++) printf("%d ", shared[i * GIB]);

    // What was mapped once, and little of it.
    int third = memfd_create("once", 0);
    CHECK(ftruncate(third, PAGE) == 0);
    char *once = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, third, 0);
    munmap(once, PAGE);
    CHECK(fallocate(third, 0, 0, 64 * PAGE) == 0);
    once = mmap(0, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, third, 0);
    show("\nallocated", once, 64 * PAGE);
    return 0;
}
