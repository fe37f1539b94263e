#!/bin/sh
# Turns the unpacked distribution ($1) into a host: called by mmdebstrap, with tools/fleet/image/ as the working directory.
set -eu
root=$1

cp -a --no-preserve=ownership root/. "$root/"
chmod 0755 "$root/usr/local/sbin/fleet-seed"
chmod 0440 "$root/etc/sudoers.d/ansible"
mv "$root"/etc/apt/sources.list.d/*debian.sources "$root/etc/apt/sources.list.d/debian.sources"
chroot "$root" sh -c 'echo LANG=C.UTF-8 > /etc/default/locale'
chroot "$root" useradd --create-home --shell /bin/bash ansible

# Each host has a key and an identity of its own.
rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id"

# modules-load and binfmt fail or reach the machine's kernel; the gettys would open its consoles; the timers would start
# sixty package updates at a moment of their own.
for unit in systemd-modules-load.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount dev-hugepages.mount \
    console-getty.service getty.target apt-daily.timer apt-daily-upgrade.timer fstrim.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
chroot "$root" systemctl enable fleet-seed.service ssh.service

# Empty package lists look fresh to `cache_valid_time`.
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin
mkdir -p "$root/var/lib/apt/lists/partial" "$root/var/cache/apt/archives/partial"
touch -d @0 "$root/var/lib/apt/lists"
