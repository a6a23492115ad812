// Lives in the functions that a C library has several of, one for each kind of processor: those on strings and memory.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <wchar.h>

static unsigned long sum = 5381;

static void add(unsigned long value) { sum = sum * 33 + value; }

static int sign(int value) { return (value > 0) - (value < 0); }

int main(void) {
    static char from[8192], to[8192];
    static wchar_t wide[600];
    for (size_t len = 1; len < 4000; len += 1 + len / 7) {
        for (size_t at = 0; at < 64; at += 13) {
            for (size_t i = 0; i < len; i++) from[at + i] = 'a' + (char)((i * 7 + len) % 23);
            from[at + len] = 0;
            char *text = from + at;
            memset(to, '.', sizeof to);
            memcpy(to + 1, text, len + 1);
            memmove(to + 3, to + 1, len + 1);
            add(strlen(to + 3));
            add(strnlen(to, len / 2));
            add((unsigned long)sign(memcmp(text, to + 3, len)));
            add((unsigned long)sign(strcmp(text, to)));
            add((unsigned long)sign(strncmp(text, to + 3, len)));
            add((unsigned long)sign(strcasecmp(text, to + 3)));
            char *found = memchr(text, text[len - 1], len);
            add(found ? (unsigned long)(found - text) : 1);
            found = strrchr(text, text[0]);
            add(found ? (unsigned long)(found - text) : 1);
            found = strchr(text, 'z');
            add(found ? (unsigned long)(found - text) : 1);
            found = strstr(text, to + 3 + len / 3);
            add(found ? (unsigned long)(found - text) : 1);
            add(strspn(text, "abcdefghijklmnopqrstuvw"));
            add(strcspn(text, "xyz"));
            strcpy(to, text);
            strcat(to, text + len / 2);
            add(strlen(to));
            add((unsigned long)(stpncpy(to, text, len) - to));
        }
        for (size_t i = 0; i < len % 500; i++) wide[i] = (wchar_t)(L'a' + i % 20);
        wide[len % 500] = 0;
        add(wcslen(wide));
        add((unsigned long)sign(wmemcmp(wide, wide + 1, len % 300)));
        // Calls on the way: there replay compares the registers.
        printf("%zu %lx\n", len, sum);
        fflush(stdout);
    }
    return 7;
}
