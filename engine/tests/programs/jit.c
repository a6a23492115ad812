// Code that is written at run time: into memory that may be written and run, flipped between the two, and through a
// second mapping of the same pages.
#include "memory.h"

// mov eax, N; ret
static void emit(unsigned char *at, int value) {
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}
static int run(void *code) { return ((int (*)(void))code)(); }

int main(void) {
    unsigned char *rwx = mmap(0, PAGE, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int sum = 0;
    for (int i = 0; i < 100; i++) emit(rwx, i * 3), sum += run(rwx);
    // Code that changes the next instruction it comes to: mov byte [rip+1], 42; mov eax, 7; ret
    static const unsigned char self[] = {0xc6, 0x05, 1, 0, 0, 0, 42, 0xb8, 7, 0, 0, 0, 0xc3};
    memcpy(rwx + 100, self, sizeof self);
    printf("%d %d\n", sum, run(rwx + 100));
    unsigned char *flip = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 5; i++) {
        mprotect(flip, PAGE, PROT_READ | PROT_WRITE);
        emit(flip + i * 16, run(rwx) + i);
        mprotect(flip, PAGE, PROT_READ | PROT_EXEC);
        printf("%d\n", run(flip + i * 16));
    }
    int fd = memfd_create("code", MFD_ALLOW_SEALING);
    ftruncate(fd, PAGE);
    unsigned char *w = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    unsigned char *x = mmap(0, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    CHECK(x != MAP_FAILED);
    emit(w, 1234);
    printf("%d\n", run(x));
    // Through write(2): mov eax, 4321; ret
    CHECK(pwrite(fd, "\xb8\xe1\x10\0\0\xc3", 6, 0) == 6);
    printf("%d\n", run(x));
    // Sealed: what is mapped for writing stays so, nothing else becomes it.
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE) == 0);
    printf("%d %d\n", ftruncate(fd, 0), errno);
    char *r = mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    int denied = mprotect(r, PAGE, PROT_READ | PROT_WRITE);
    emit(w, 77);
    printf("%d %d %d\n", denied, errno, run(x));
    return 0;
}
