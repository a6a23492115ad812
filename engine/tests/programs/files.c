#include "show.h"
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

int main(void)
{
	char buf[256];
	long longs[32];
	struct { unsigned long value; unsigned size, flags; } xa;
	int fd = open("xattrs", O_CREAT | O_RDWR, 0600), mnt[4];
	MUST(fd >= 0 && write(fd, "some text", 9) == 9);
	PLAIN(setxattr("xattrs", "user.one", "first", 5, 0));
	PLAIN(fsetxattr(fd, "user.two", "second", 6, 0));
	FRESH(buf);
	SHOW(getxattr("xattrs", "user.one", buf, sizeof buf), buf);
	SHOW(lgetxattr("xattrs", "user.two", buf, 2), buf);
	SHOW(fgetxattr(fd, "user.two", buf, sizeof buf), buf);
	SHOW(listxattr("xattrs", buf, sizeof buf), buf);
	SHOW(llistxattr("xattrs", buf, 0), buf);
	PLAIN(removexattr("xattrs", "user.one"));
	xa.value = (unsigned long)"third", xa.size = 5, xa.flags = 0;
	PLAIN(syscall(463, AT_FDCWD, "xattrs", 0, "user.three", &xa, 16));
	FRESH(buf);
	xa.value = (unsigned long)buf, xa.size = sizeof buf;
	SHOW(syscall(464, AT_FDCWD, "xattrs", 0, "user.three", &xa, 16), buf);
	SHOW(syscall(465, AT_FDCWD, "xattrs", 0, buf, sizeof buf), buf);
	PLAIN(syscall(466, AT_FDCWD, "xattrs", 0, "user.three"));

	FRESH(buf);
	FRESH(mnt);
	struct file_handle *handle = (void *)buf;
	handle->handle_bytes = 0;
	SHOW(name_to_handle_at(AT_FDCWD, "xattrs", handle, mnt, 0), buf);
	SHOW(0, mnt);
	handle->handle_bytes = 128;
	SHOW(name_to_handle_at(AT_FDCWD, "xattrs", handle, mnt, 0), buf);
	SHOW(0, mnt);
	PLAIN(open_by_handle_at(AT_FDCWD, handle, O_RDONLY) == -1);

	// The mount's number, of itself and of those below it.
	struct statx sx;
	struct { unsigned size, fd; unsigned long id, param, ns; } req = { 24 };
	MUST(!syscall(SYS_statx, AT_FDCWD, "/", 0, 0x4000, &sx));
	memcpy(&req.id, (char *)&sx + 0x90, 8);
	req.param = 1 | 2;
	FRESH(longs);
	SHOW(syscall(457, &req, longs, sizeof longs, 0), longs);
	req.id = -1, req.param = 0;
	FRESH(longs);
	SHOW(syscall(458, &req, longs, 8, 0), longs);
	FRESH(longs);
	unsigned long range[2] = { 0, 0 };
	SHOW(syscall(451, fd, range, longs, 0), longs);
	FRESH(longs);
	SHOW(syscall(468, AT_FDCWD, "xattrs", longs, 24, 0), longs);
	SHOW(syscall(SYS_ustat, makedev(1, 1), longs), longs);
	struct stat st;
	fstat(fd, &st);
	SHOW(syscall(SYS_ustat, st.st_dev, longs), longs);

	FRESH(longs);
	SHOW(ioctl(fd, FS_IOC_GETFLAGS, longs), longs);
	SHOW(ioctl(fd, FS_IOC_GETVERSION, longs), longs);
	SHOW(ioctl(fd, FIGETBSZ, longs), longs);
	SHOW(ioctl(fd, _IOR('X', 31, struct fsxattr), longs), longs);
	SHOW(ioctl(fd, FS_IOC_GETFSLABEL, longs), longs);
	SHOW(ioctl(fd, 0x5460, longs), longs);
	SHOW(ioctl(fd, FIONREAD, longs), longs);
	SHOW(ioctl(fd, BLKGETSIZE64, longs), longs);
	memset(longs, 0, sizeof longs);
	struct fiemap *map = (void *)longs;
	map->fm_length = -1;
	map->fm_extent_count = 3;
	map->fm_flags = FIEMAP_FLAG_SYNC;
	SHOW(ioctl(fd, FS_IOC_FIEMAP, map), longs);
	map->fm_flags = 0x7000;
	SHOW(ioctl(fd, FS_IOC_FIEMAP, map), longs);
	PLAIN(syscall(SYS_sync_file_range, fd, 0, 0, 7));
	PLAIN(fsync(fd));
	PLAIN(syscall(452, AT_FDCWD, "xattrs", 0640, 0));
	return 0;
}
