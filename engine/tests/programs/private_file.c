// Private mappings of files that are then rewritten, truncated, replaced; and what madvise and mremap make of them.
#include "memory.h"

int main(void) {
    int fd = file_of("private", 8);
    // Older than any stamp's resolution: the recorder may refer to it, and must notice that it changes.
    struct timespec old[2] = {{1000, 0}, {1000, 0}};
    CHECK(futimens(fd, old) == 0);
    char *a = mmap(0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *small = mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 2 * PAGE);
    show("mapped", a, 8 * PAGE);
    memset(a, 'o', 100);
    memset(a + 3 * PAGE, 'o', 100);
    CHECK(pwrite(fd, "new", 3, 50) == 3 && pwrite(fd, "new", 3, PAGE) == 3);
    show("rewritten", a, 8 * PAGE);
    CHECK(madvise(a, 4 * PAGE, MADV_DONTNEED) == 0);
    show("not needed", a, 8 * PAGE);
    small = mremap(small, PAGE, 5 * PAGE, MREMAP_MAYMOVE);
    CHECK(small != MAP_FAILED);
    show("grown", small, 5 * PAGE);
    char *place = mmap(0, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    a = mremap(a, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    CHECK(a == place);
    a = mremap(a, 8 * PAGE, 3 * PAGE, 0);
    show("moved and cut", a, 3 * PAGE);
    // Its times are all that changes.
    old[0].tv_sec = old[1].tv_sec = 2000;
    CHECK(futimens(fd, old) == 0 && utimensat(AT_FDCWD, "private", old, 0) == 0);
    close(fd);
    // Written anew under its name, as compilers do.
    fd = file_of("private", 2);
    CHECK(write(fd, "end", 3) == 3);
    char *b = mmap(0, 3 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    show("written anew", b, 2 * PAGE + 10);
    CHECK(unlink("private") == 0);
    fd = file_of("private", 4);
    char *c = mmap(0, 4 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    show("another file", c, 4 * PAGE);
    show("the unlinked one", b, 2 * PAGE);
    char *zero = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, open("/dev/zero", O_RDWR), 0);
    zero[1] = 1;
    show("zero", zero, PAGE);
    return 0;
}
