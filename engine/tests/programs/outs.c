#include <unistd.h>
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <poll.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
int main(){
unsigned char vec[16];char*m=mmap(0,16*4096,3,MAP_PRIVATE|MAP_ANONYMOUS,-1,0);m[0]=1;m[4096*3]=1;memset(vec,7,16);
mincore(m,16*4096,vec);int s=0;for(int i=0;i<16;i++)s=s*2+(vec[i]&1);printf("mincore %x %d\n",s,vec[15]);
printf("getgroups %ld\n",syscall(SYS_getgroups,0,1));
int sv[2];socketpair(AF_UNIX,SOCK_DGRAM,0,sv);char b[100]={0};send(sv[0],"0123456789",10,0);
printf("trunc %ld\n",recv(sv[1],m+16*4096-4,4,MSG_TRUNC));
char lb[4];printf("readlink %ld\n",readlink("/proc/self/exe",lb,4));
int f=open("xa",O_CREAT|O_RDWR,0600);printf("setx %d\n",fsetxattr(f,"user.a","hello",5,0));
printf("getx %ld\n",syscall(SYS_fgetxattr,f,"user.a",1L,0));printf("listx %ld\n",syscall(SYS_flistxattr,f,1L,0));
struct pollfd pf={999,POLLIN,0};printf("poll %d %x\n",poll(&pf,1,0),pf.revents);
struct flock fl={.l_type=F_WRLCK,.l_whence=SEEK_SET};printf("getlk %d %d\n",fcntl(f,F_GETLK,&fl),fl.l_type);
printf("efault %ld\n",(long)syscall(SYS_read,f,1L,10L));
send(sv[0],"0123456789",10,0);struct iovec iv={b,4};struct msghdr mh={.msg_iov=&iv,.msg_iovlen=1};printf("recvmsg %ld %x %s\n",recvmsg(sv[1],&mh,MSG_TRUNC),mh.msg_flags,b);
int v;socklen_t l=4;printf("gso %d\n",getsockopt(sv[0],SOL_SOCKET,SO_TYPE,&v,&l));
printf("wefault %ld\n",(long)syscall(SYS_write,1,8L,10L));
struct iovec w[2]={{"a",1},{(void*)1,(size_t)-1}};printf("wv %ld\n",writev(1,w,2));
return 0;}
