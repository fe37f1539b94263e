#!/bin/sh
# The state from which each way of running the items starts.
set -eu
# What an earlier run left; on a new host there is none of it, and each of these fails.
chattr -R -i /srv/lab 2>/dev/null || true
systemctl disable --now lab-seed.timer 2>/dev/null || true
userdel lab 2>/dev/null || true
groupdel lab 2>/dev/null || true
apt-mark auto procps >/dev/null
rm -rf /srv/lab /etc/apt/sources.list.d/lab.sources
mkdir -p -m 0700 ~root/.ansible/tmp # modules warn of one that they have to make
mkdir -p /srv/lab/seed/into /srv/lab/seed/into2 /srv/lab/seed/parts /srv/lab/seed/unpacked
cd /srv/lab/seed
echo list > list.txt
echo x > unwanted
printf 'older\n' > old.txt
printf 'same\n' > same.txt
chmod 0644 same.txt
echo kept > kept.txt
echo target > target.txt
ln -s target.txt through
printf 'text\n' > binary
printf 'name=before\n' > settings.conf
printf 'a=1\nb=1\n' > lines.txt
echo one > parts/1
echo two > parts/2
mkdir tree
echo leaf > tree/leaf
touch -d @1700000000 tree tree/leaf list.txt parts/1 parts/2
tar -cf archive.tar tree
rm -r tree
cat > /etc/systemd/system/lab-seed.timer <<UNIT
[Timer]
OnCalendar=2099-01-01
[Install]
WantedBy=timers.target
UNIT
cat > /etc/systemd/system/lab-seed.service <<UNIT
[Service]
Type=oneshot
ExecStart=true
UNIT
systemctl daemon-reload
