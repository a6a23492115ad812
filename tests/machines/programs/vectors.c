// Vector registers that are in use while signals come: what a handler does to them must not be seen after it, above the
// lower halves either. Needs AVX.
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int handled;

static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    handled++;
    __asm__ volatile("vpcmpeqb %%xmm9, %%xmm9, %%xmm9\n\tvzeroall" ::: "memory");
}

// The call is made with the registers full.
static long call(long number, long first, long second, long third, uint64_t in[4], uint64_t out[4]) {
    long result = number;
    __asm__ volatile(
        "vmovdqu (%[in]), %%ymm9\n\t"
        "syscall\n\t"
        "vmovdqu %%ymm9, (%[out])\n\t"
        : "+a"(result)
        : "D"(first), "S"(second), "d"(third), [in] "r"(in), [out] "r"(out)
        : "rcx", "r11", "memory", "xmm9");
    return result;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    for (uint64_t round = 1; round <= 5; round++) {
        uint64_t in[4] = {round * 3, round << 20, ~round, round * 0x0101010101010101}, out[4] = {0};
        call(SYS_tgkill, getpid(), (long)syscall(SYS_gettid), SIGUSR1, in, out);
        printf("handled %d: %lx %lx %lx %lx, %s\n", handled, out[0], out[1], out[2], out[3],
            memcmp(in, out, sizeof in) ? "not what was there" : "as before");
    }
    return 0;
}
