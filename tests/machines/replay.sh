# A job for start.sh: replays every trace as an ordinary user. Leaves what each printed and how it ended.
uname -a > out/machine
grep -m 1 'model name' /proc/cpuinfo >> out/machine
install -m 755 cargo-rrtest /usr/bin
for trace in traces/*.rrtrace; do
    name=${trace##*/} out=$PWD/out/${trace##*/}
    install -o user -m 600 "$trace" "/home/user/$name"
    (
        cd /home/user
        setpriv --reuid=user --regid=user --clear-groups env -i timeout -k 10 600 \
            /usr/bin/cargo-rrtest rrtest replay "$name" > "$out.stdout" 2> "$out.stderr" < /dev/null
        echo $? > "$out.code"
        rm "$name"
    )
    echo "$name: $(cat "$out.code"), up for $(cut -d' ' -f1 /proc/uptime) s" > /dev/console
done
