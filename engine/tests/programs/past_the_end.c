// Pages behind a mapped file's end raise SIGBUS, until it grows; read-only mappings stay so.
#include "memory.h"

int main(void) {
    catch_faults();
    int fd = file_of("short", 1);
    CHECK(write(fd, "tail", 4) == 4);
    char *a = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *p = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    printf("%d %d %d %d\n", fault(a, 0), fault(a + PAGE, 0), fault(a + 2 * PAGE, 0), fault(p + 3 * PAGE, 1));
    p[PAGE] = 'c';
    CHECK(ftruncate(fd, 3 * PAGE) == 0);
    a[2 * PAGE] = 'g';
    printf("grown: %d %d\n", fault(a + 2 * PAGE, 0), fault(a + 3 * PAGE, 1));
    CHECK(write(fd, "more", 4) == 4);
    show("grown", a, 3 * PAGE);
    show("private", p, 3 * PAGE);
    CHECK(ftruncate(fd, 10) == 0);
    printf("cut: %d %d %d\n", fault(a + PAGE, 0), fault(p + PAGE, 0), fault(p, 0));
    int only = open("short", O_RDONLY);
    char *r = mmap(0, PAGE, PROT_READ, MAP_SHARED, only, 0);
    printf("%d %d\n", mprotect(r, PAGE, PROT_READ | PROT_WRITE), errno);
    printf("%d\n", fault(r, 1));
    char *w = mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    printf("%d\n", mprotect(w, PAGE, PROT_READ | PROT_WRITE));
    printf("%d %c\n", fault(w, 1), r[0]);
    return 0;
}
