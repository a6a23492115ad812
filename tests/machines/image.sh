#!/bin/sh
# Makes the disk of a machine: a stock Debian system, of this release, with its own kernel.
#
#     image.sh RELEASE DIR        makes DIR/RELEASE.disk, DIR/RELEASE.kernel and DIR/RELEASE.initrd
#
# Needs root and the Debian packages mmdebstrap and e2fsprogs. MIRROR is where Debian is taken from.
set -eu
release=$1 dir=$2
here=$(dirname "$0")
work=$(mktemp -d "$dir/$release.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root

# An ordinary user; the first process, which start.sh describes; and an initial RAM disk with the few modules it takes.
cat > "$work/customize" <<'END'
set -eu
root=$1 here=$2
chroot "$root" useradd --create-home --shell /bin/sh user
install -m 755 "$here/start.sh" "$root/sbin/start"
echo MODULES=list > "$root/etc/initramfs-tools/conf.d/machine"
printf '%s\n' virtio_pci virtio_blk ext4 >> "$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u > /dev/null
END
mmdebstrap --quiet --variant=minbase --mode=root --include=linux-image-cloud-amd64,python3 \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="sh '$work/customize' \"\$1\" '$here'" \
    "$release" "$root" "${MIRROR:-http://deb.debian.org/debian}"
cp "$root"/boot/vmlinuz-* "$work/kernel"
cp "$root"/boot/initrd.img-* "$work/initrd"
rm -r "$root"/boot/* "$root"/var/cache/apt "$root"/var/lib/apt/lists
mke2fs -q -t ext4 -d "$root" "$work/disk" 1500M > /dev/null
for part in kernel initrd disk; do mv "$work/$part" "$dir/$release.$part"; done
