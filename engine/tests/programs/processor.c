// Which processor the program sees: by cpuid and xgetbv, by the compiler's own detection, by the C library's choice.
#include <cpuid.h>
#include <stdio.h>
#include <string.h>

static unsigned long states(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (unsigned long)high << 32 | low;
}

int main(void) {
    unsigned eax, ebx, ecx, edx, ebx7 = 0, none;
    __cpuid(1, eax, ebx, ecx, edx);
    __get_cpuid_count(7, 0, &none, &ebx7, &none, &none);
    printf("sse4.2 %d, avx %d, avx2 %d, avx512f %d, rdrand %d\n", ecx >> 20 & 1, ecx >> 28 & 1, ebx7 >> 5 & 1,
           ebx7 >> 16 & 1, ecx >> 30 & 1);
    __builtin_cpu_init();
    printf("libgcc: avx2 %d, avx512f %d\n", !!__builtin_cpu_supports("avx2"), !!__builtin_cpu_supports("avx512f"));
    if (ecx >> 27 & 1) printf("states %lx\n", states());
    // Enough for the C library's widest loops.
    char from[4096], to[4096];
    memset(from, 'x', sizeof from);
    memcpy(to, from, sizeof to);
    to[4095] = 0;
    printf("%zu\n", strlen(to));
    return 0;
}
