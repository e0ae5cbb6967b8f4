#!/usr/bin/env bash
# Chroots of Debian for scripts/deb and .ci/deb, which source this file and need root.
#
# The base system of a suite is fetched once, into .chroots/SUITE.tar; a chroot is that, unpacked. What runs in one
# has mounts and processes of its own: both end with it, so there is nothing to unmount or to kill.

# Makes a chroot in a directory that is not there yet.
make_chroot() { # suite, directory
    local base=.chroots/$1.tar
    if [ ! -e "$base" ]; then
        mkdir -p .chroots
        echo "fetching the base system of Debian's $1" >&2
        debootstrap --variant=minbase --include=ca-certificates "$1" "$2" "${MIRROR:-http://deb.debian.org/debian}" \
            >"$base.log" || {
            tail -n 5 "$base.log" >&2
            return 1
        }
        tar --create --file "$base.new" --directory "$2" . && mv "$base.new" "$base"
    else
        mkdir "$2" && tar --extract --file "$base" --directory "$2"
    fi
}

# How this machine reaches packages: its names, certificates, and settings of apt and pip that no package brought.
include_host_config() { # directory
    local file said
    for file in /etc/hosts /etc/resolv.conf /etc/pip.conf /etc/apt/apt.conf /etc/apt/apt.conf.d/* \
        /usr/local/share/ca-certificates/*.crt; do
        if [ -f "$file" ] && ! dpkg --search "$file" >/dev/null 2>&1; then
            cp --parents --dereference --remove-destination "$file" "$1"
        fi
    done
    said=$(in_chroot "$1" update-ca-certificates 2>&1) || {
        echo "$said" >&2
        return 1
    }
}

in_chroot() { # directory, command...
    # shellcheck disable=SC2016 # The shell inside expands it.
    unshare --mount --pid --fork --kill-child env --ignore-environment \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        "http_proxy=${http_proxy:-}" "https_proxy=${https_proxy:-}" "no_proxy=${no_proxy:-}" \
        sh -euc 'mount --rbind /dev "$1/dev"
            mount -t proc proc "$1/proc"
            mount -t sysfs sysfs "$1/sys"
            exec chroot "$@"' sh "$@"
}
