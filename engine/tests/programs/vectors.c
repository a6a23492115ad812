// Vector registers that live across a signal whose handler overwrites them, and one that a handler changes in its frame.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static int wide;

__attribute__((target("avx"))) static void clear_wide(void) {
    __asm__ volatile("vpxor %%xmm9, %%xmm9, %%xmm9" ::: "xmm9");
}

static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.fpregs->_xmm[8].element[1] = 0xabcd;
    __asm__ volatile("pxor %%xmm8, %%xmm8\n fldpi\n" ::: "xmm8", "st");
    if (wide) clear_wide();
}

// Sends a signal to itself, without a call that could use vector registers.
#define RAISE "syscall\n"
#define RAISES(pid) "a"(SYS_kill), "D"(pid), "S"(SIGUSR1)

__attribute__((target("avx"))) static void with_wide(pid_t pid) {
    uint64_t given[4] = {1, 2, 3, 4}, kept[4];
    long result;
    __asm__ volatile("vmovdqu %[given], %%ymm9\n" RAISE "vmovdqu %%ymm9, %[kept]\n"
                     : "=a"(result), [kept] "=m"(kept)
                     : RAISES(pid), [given] "m"(given)
                     : "rcx", "r11", "xmm9", "memory");
    printf("ymm9 %lu %lu %lu %lu\n", kept[0], kept[1], kept[2], kept[3]);
}

int main(void) {
    wide = __builtin_cpu_supports("avx");
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    pid_t pid = getpid();
    uint32_t given[4] = {5, 6, 7, 8}, kept[4];
    double left = 1.5, sum;
    long result;
    __asm__ volatile("fldl %[left]\n movdqu %[given], %%xmm8\n" RAISE "movdqu %%xmm8, %[kept]\n fstpl %[sum]\n"
                     : "=a"(result), [kept] "=m"(kept), [sum] "=m"(sum)
                     : RAISES(pid), [given] "m"(given), [left] "m"(left)
                     : "rcx", "r11", "xmm8", "memory");
    printf("xmm8 %u %x %u %u, x87 %.1f\n", kept[0], kept[1], kept[2], kept[3], sum);
    if (wide) with_wide(pid);
    return 0;
}
