#!/bin/sh
# refuse-identity.sh ROOT: ends with 1 and says why, if the files of an image make devices that are not their own.
set -eu
root=$1
refused=0

refuse() {
    echo "${1#"$root"} $2" >&2
    refused=1
}

if [ -d "$root/var/lib/kith" ]; then
    for file in $(find "$root/var/lib/kith" -mindepth 1); do
        refuse "$file" "is of a messenger that has run: each device makes its own identity when it starts"
    done
fi
for folder in etc run usr/lib var/lib; do
    for kind in credstore credstore.encrypted; do
        file=$root/$folder/$kind/kith.secret
        [ ! -e "$file" ] || refuse "$file" "is a credential: give each device its own"
    done
done
file=$root/var/lib/systemd/credential.secret
[ ! -e "$file" ] || refuse "$file" "is the key of one device's credentials: systemd makes it there"
file=$root/etc/machine-id
if [ -s "$file" ] && [ "$(cat "$file")" != uninitialized ]; then
    refuse "$file" "is one device's: let it be empty"
fi
exit $refused
