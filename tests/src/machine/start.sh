#!/bin/sh
# start.sh BASE WORK GROUP NAME: systemd as process 1 of namespaces of its own, in the network that this runs in.
# BASE stays as it is: what the machine writes goes to WORK/upper. GROUP is its control group, below the uppermost, and
# the abstract socket that is told when the machine is up.
set -eu
base=$1 work=$2 group=$3 name=$4

mkdir "$work/root" "$work/upper" "$work/work" "$work/groups"
# `ip netns exec` hides those of /sys.
mount -t cgroup2 cgroup2 "$work/groups"
echo $$ > "$work/groups/$group/cgroup.procs"
umount "$work/groups"
export ROOT="$work/root" LAYERS="lowerdir=$base,upperdir=$work/upper,workdir=$work/work"
# Both end with the one that started this.
exec setpriv --pdeathsig KILL -- unshare --mount --uts --ipc --pid --cgroup --fork --kill-child sh -euc '
name=$1 socket=$2
mount -t overlay -o "$LAYERS" machine "$ROOT"
cd "$ROOT"
mount -t proc proc proc
# Parameters of this kernel are not the machine'"'"'s to set.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs tmp tmp
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
hostname "$name"
pivot_root . mnt
umount -l /mnt
# As a container manager leaves it: credentials appear in the mount namespaces of services by propagation.
mount --make-rshared /
exec env -i container=kith-test "NOTIFY_SOCKET=@$socket" /lib/systemd/systemd
' sh "$name" "$group"
