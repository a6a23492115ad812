#include "show.h"
#include <arpa/inet.h>
#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(void)
{
	char buf[512];
	long words[8];
	struct termios2 t[2];
	// A terminal of our own.
	int m = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	MUST(m >= 0);
	FRESH(words);
	SHOW(ioctl(m, TIOCGPTN, words), words);
	*(int *)words = 0;
	PLAIN(ioctl(m, TIOCSPTLCK, words));
	SHOW(ioctl(m, TIOCGPTLCK, words), words);
	SHOW(ioctl(m, TIOCGPKT, words), words);
	int s = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	MUST(s >= 0);
	FRESH(t);
	SHOW(ioctl(s, TCGETS, t), t);
	SHOW(ioctl(s, TCGETS2, t), t);
	t->c_lflag &= ~(ICANON | ECHO);
	PLAIN(ioctl(s, TCSETS2, t));
	SHOW(ioctl(s, TCGETS2, t), t);
	SHOW(ioctl(s, TCGETA, t), t);
	struct winsize ws = { 24, 80, 1, 2 }, got[2];
	FRESH(got);
	PLAIN(ioctl(m, TIOCSWINSZ, &ws));
	SHOW(ioctl(s, TIOCGWINSZ, got), got);
	MUST(got[0].ws_col == 80);
	PLAIN(write(m, "input", 5));
	SHOW(ioctl(s, FIONREAD, words), words);
	SHOW(read(s, buf, 16), *words);
	SHOW(ioctl(s, TIOCOUTQ, words), words);
	SHOW(ioctl(s, TIOCGETD, words), words);
	SHOW(ioctl(s, TIOCGEXCL, words), words);
	SHOW(ioctl(s, TIOCMGET, words), words);
	SHOW(ioctl(s, TIOCGPGRP, words), words);
	SHOW(ioctl(s, TIOCGSID, words), words);
	PLAIN(ioctl(s, TCFLSH, 2));
	PLAIN(ioctl(s, TCSBRK, 1));
	PLAIN(ioctl(s, TIOCNOTTY));
	MUST(ioctl(s, TIOCSTI, "x") == -1 && errno == EPERM);

	// Interfaces.
	int k = socket(AF_INET, SOCK_DGRAM, 0), sv[2];
	struct ifreq f[2];
	struct ifconf c = { sizeof buf, { buf } };
	FRESH(buf);
	SHOW(ioctl(k, SIOCGIFCONF, &c), buf);
	printf("%d\n", c.ifc_len);
	static const int requests[] = { SIOCGIFFLAGS, SIOCGIFADDR,   SIOCGIFNETMASK, SIOCGIFINDEX, SIOCGIFMTU,
					SIOCGIFHWADDR, SIOCGIFMETRIC, SIOCGIFTXQLEN,  SIOCGIFMAP,   SIOCGIFBRDADDR };
	for (int i = 0; i < sizeof requests / sizeof *requests; i++) {
		FRESH(f);
		strcpy(f->ifr_name, "lo");
		SHOW(ioctl(k, requests[i], f), f);
	}
	f->ifr_ifindex = 1;
	SHOW(ioctl(k, SIOCGIFNAME, f), f);
	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv) && write(sv[0], "four", 4) == 4);
	FRESH(words);
	SHOW(ioctl(sv[1], FIONREAD, words), words);
	MUST(*(int *)words == 4);
	SHOW(ioctl(sv[0], TIOCOUTQ, words), words);
	SHOW(ioctl(sv[0], 0x8905, words), words);
	SHOW(ioctl(k, 0x8903, words), words);
	int on = 1;
	PLAIN(ioctl(k, FIONBIO, &on));
	PLAIN(ioctl(k, FIOCLEX));

	int r = open("/dev/urandom", O_RDONLY);
	FRESH(words);
	SHOW(ioctl(r, RNDGETENTCNT, words), words);
	MUST(*(int *)words > 0);
	// A mapping of ours: the one with this variable, and its name.
	struct {
		unsigned long size, flags, addr, start, end, vmaflags, page, offset, inode;
		unsigned major, minor, name_size, build_size;
		unsigned long name, build;
	} q;
	memset(&q, 0, sizeof q);
	q.size = sizeof q;
	q.addr = (unsigned long)&main;
	q.name_size = sizeof buf;
	q.name = (unsigned long)buf;
	int maps = open("/proc/self/maps", O_RDONLY);
	FRESH(buf);
	int done = ioctl(maps, _IOC(3, 'f', 17, 104), &q);
	SHOW(done, q);
	SHOW(done, buf);
	int ns = open("/proc/self/ns/user", O_RDONLY);
	PLAIN(ioctl(ns, 0xb703));
	FRESH(words);
	SHOW(ioctl(ns, 0xb704, words), words);
	return 0;
}
