// Shared mappings of a file: stores, and every kind of call that changes the file under them.
#include "memory.h"

int main(void) {
    int fd = file_of("shared", 6);
    char *a = mmap(0, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *b = mmap(0, 4 * PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
    char *c = mmap(0, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(a != MAP_FAILED && b != MAP_FAILED && c != MAP_FAILED);
    show("mapped", a, 6 * PAGE);
    memset(a + PAGE + 10, 'x', 5000);
    c[0] = 'p';
    show("stored", b, 4 * PAGE);
    show("private", c, 6 * PAGE);

    CHECK(pwrite(fd, "pwrite", 6, 2 * PAGE - 3) == 6);
    lseek(fd, 3 * PAGE + 7, SEEK_SET);
    struct iovec iov[2] = {{"write", 5}, {"v", 1}};
    CHECK(write(fd, "written", 7) == 7 && writev(fd, iov, 2) == 6 && pwritev(fd, iov, 2, PAGE + 1) == 6);
    CHECK(pwritev2(fd, iov, 2, -1, 0) == 6 && pwritev2(fd, iov, 2, 17, 0) == 6);
    show("after writes", a, 6 * PAGE);
    show("in the second", b, 4 * PAGE);
    show("in the private one", c, 6 * PAGE);

    int other = file_of("other", 3);
    loff_t in = 100, out = 4 * PAGE + 50;
    CHECK(copy_file_range(other, &in, fd, &out, 3000, 0) == 3000);
    lseek(fd, 5 * PAGE, SEEK_SET);
    off_t from = 11;
    CHECK(sendfile(fd, other, &from, 1000) == 1000);
    show("after copies", a, 6 * PAGE);

    int end = open("shared", O_WRONLY | O_APPEND);
    CHECK(write(end, "appended", 8) == 8 && pwrite(end, "too", 3, 5) == 3);
    CHECK(ftruncate(fd, 8 * PAGE) == 0);
    char *d = mmap(0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    show("longer", d, 8 * PAGE);
    d[7 * PAGE + 1] = 'z';
    CHECK(ftruncate(fd, PAGE + 100) == 0 && ftruncate(fd, 8 * PAGE) == 0);
    show("cut and grown", d, 8 * PAGE);
    show("private, cut and grown", c, PAGE);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 50, 100) == 0);
    CHECK(truncate("shared", 7 * PAGE) == 0);
    show("with a hole", d, 7 * PAGE);

    CHECK(msync(d, 8 * PAGE, MS_SYNC) == 0);
    char page[PAGE];
    d[3] = '!';
    CHECK(pread(fd, page, PAGE, 0) == PAGE);
    show("read", page, PAGE);
    lseek(fd, 0, SEEK_SET);
    CHECK(read(other, d + PAGE, 700) == 0 && pread(other, d + PAGE, 700, 5) == 700);
    show("read into it", a, 2 * PAGE);
    munmap(a, 6 * PAGE), munmap(b, 4 * PAGE), munmap(d, 8 * PAGE);
    CHECK(pwrite(fd, "while unmapped", 14, 20) == 14);
    a = mmap(0, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    show("again", a, 2 * PAGE);

    // O_TRUNC, and the file's own name while another has its old one.
    CHECK(rename("shared", "old") == 0);
    int again = open("old", O_RDWR | O_TRUNC);
    CHECK(again >= 0 && write(again, "short", 5) == 5);
    show("truncated by open", a, PAGE);
    CHECK(unlink("old") == 0 && pwrite(again, "unlinked", 8, 60) == 8);
    show("unlinked", a, PAGE);
    return 0;
}
