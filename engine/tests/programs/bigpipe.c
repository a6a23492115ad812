#include <pthread.h>
#include <unistd.h>
#include <stdio.h>
#include <stdlib.h>
int p[2];
void*r(void*a){char*b=calloc(1,1<<20);write(p[1],b,1<<20);close(p[1]);return 0;}
int main(){pipe(p);pthread_t t;pthread_create(&t,0,r,0);char b[5000];long s=0;int n;while((n=read(p[0],b,sizeof b))>0)s+=n;pthread_join(t,0);printf("%ld\n",s);return s!=1<<20;}
