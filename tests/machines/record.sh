# A job for start.sh: records what `programs` lists, a line with a name and a shell command each, as an ordinary user
# whom the kernel gives neither counters nor the tracing of others. Leaves the traces, what each program printed and how
# it ended.
{ echo 4 > /proc/sys/kernel/perf_event_paranoid; } 2> /dev/null
{ echo 1 > /proc/sys/kernel/yama/ptrace_scope; } 2> /dev/null
uname -a > out/machine
install -m 755 cargo-rrtest /usr/bin
chmod -R a+rX .
mkdir /tmp/traces
chown user /tmp/traces
while read -r name command; do
    out=$PWD/out/$name.rrtrace
    setpriv --reuid=user --regid=user --clear-groups env -i PATH=/usr/bin:/bin timeout -k 10 600 \
        /usr/bin/cargo-rrtest rrtest exec --keep always --trace-dir "/tmp/traces/$name" -- sh -c "$command" \
        > "$out.stdout" 2> "$out.stderr" < /dev/null
    echo $? > "$out.code"
    cp "/tmp/traces/$name"/*.rrtrace "$out"
    echo "$name: $(cat "$out.code"), up for $(cut -d' ' -f1 /proc/uptime) s" > /dev/console
done < programs
