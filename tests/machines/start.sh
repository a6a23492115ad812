#!/bin/sh
# The first process of a machine that machines.rs boots: does a job and ends the machine.
#
# What goes in is a tar archive, the second disk; its file `job` is the shell script to run, as root. What comes out is
# what that leaves in `out`: another archive, on the third disk.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
mount -t tmpfs -o mode=1777 none /tmp
mount -o remount,rw /
mkdir -p /tmp/job/out
cd /tmp/job
tar -xf /dev/vdb && sh ./job
tar -cf /dev/vdc out
sync
# There is no init to ask.
echo o > /proc/sysrq-trigger
while :; do sleep 1; done
