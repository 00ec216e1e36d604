#!/bin/sh
# Installs Stheno without a package manager, or removes it.
#
#     ./install.sh                 installs, or upgrades
#     ./install.sh --remove        removes what it installed; configuration, keys and history stay
#     ./install.sh --root DIR …    below DIR instead of /
#
# Files in /etc that are there already are kept; where the new one differs, it is put beside it as FILE.new.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
name=centreon-gorgone
root='' remove=''

fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

while [ "$#" -gt 0 ]; do
    case $1 in
        --root)
            [ -n "${2:-}" ] || fail "--root needs a directory"
            root=$(cd "$2" 2>/dev/null && pwd) || fail "there is no directory '$2'"
            [ "$root" = / ] && root=''
            shift ;;
        --remove) remove=yes ;;
        --help | -h) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0"; exit 0 ;;
        *) fail "unknown option '$1'; './install.sh --help' lists what there is" ;;
    esac
    shift
done
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root: it writes to /usr and /etc"
[ -d "$here/files/usr" ] || fail "$here/files is missing: unpack the whole archive"
running() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

if [ -n "$remove" ]; then
    if running; then systemctl disable --now stheno.service 2>/dev/null || true; fi
    (cd "$here/files" && find usr -type f) | while read -r file; do rm -f "$root/$file"; done
    # Files in /etc that nobody changed go, too.
    (cd "$here/files" && find etc -type f) | while read -r file; do
        if cmp -s "$here/files/$file" "$root/$file"; then rm -f "$root/$file"; fi
    done
    rmdir "$root/usr/share/doc/stheno/examples" "$root/usr/share/doc/stheno" 2>/dev/null || true
    if running; then systemctl daemon-reload; fi
    echo "stheno is removed; /etc/$name, /var/lib/$name, /var/log/$name and the user $name stay"
    exit 0
fi

was_there=''
[ -e "$root/usr/bin/stheno" ] && was_there=yes
(cd "$here/files" && find usr -type f) | while read -r file; do
    mode=644
    [ "$file" = usr/bin/stheno ] && mode=755
    mkdir -p "$root/$(dirname "$file")"
    # Beside its place and moved there: a running program cannot be written to.
    cp "$here/files/$file" "$root/$file.installing"
    chmod "$mode" "$root/$file.installing"
    mv -f "$root/$file.installing" "$root/$file"
done
(cd "$here/files" && find etc -type f) | while read -r file; do
    place=$file
    # The original's package rotates the same log, and logrotate takes a second entry for a file for a mistake.
    if [ "$file" = etc/logrotate.d/stheno ] && grep -qs '/gorgoned\.log' "$root/etc/logrotate.d/gorgoned"; then
        if cmp -s "$here/files/$file" "$root/$file"; then rm -f "$root/$file"; fi
        continue
    fi
    if [ -e "$root/$file" ]; then
        cmp -s "$here/files/$file" "$root/$file" && continue
        place=$file.new
        echo "/$file is kept; the new one is /$place"
    fi
    mkdir -p "$root/$(dirname "$place")"
    cp "$here/files/$file" "$root/$place"
    chmod 644 "$root/$place"
done

# By number: in another root the names are that root's. The user may come from a directory service.
owner_of() {
    if [ -z "$root" ] && id "$name" >/dev/null 2>&1; then
        echo "$(id -u "$name"):$(id -g "$name")"
    else
        sed -n "s/^$name:[^:]*:\([0-9]*\):\([0-9]*\):.*/\1:\2/p" "$root/etc/passwd" 2>/dev/null || true
    fi
}
if [ -z "$(owner_of)" ]; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers ${root:+--root="$root"} stheno.conf
    elif command -v useradd >/dev/null; then
        useradd ${root:+--prefix "$root"} --system --user-group --home-dir "/var/lib/$name" --shell /usr/sbin/nologin "$name"
    else
        fail "the user $name is missing and neither systemd-sysusers nor useradd is there: make it, then run this again"
    fi
fi
owner=$(owner_of)
mkdir -p "$root/etc/$name"
for place in "lib/$name" "lib/$name/.keys" "log/$name" "cache/$name"; do
    if [ ! -d "$root/var/$place" ]; then
        mkdir -p "$root/var/$place"
        case $place in *.keys) chmod 700 "$root/var/$place" ;; *) chmod 750 "$root/var/$place" ;; esac
        chown "$owner" "$root/var/$place" 2>/dev/null || echo "/var/$place is not given to $name: that needs root"
    fi
done

if running; then
    systemctl daemon-reload
    if [ -n "$was_there" ]; then systemctl try-restart stheno.service; fi
fi
if [ -n "$was_there" ]; then
    echo "stheno is upgraded"
elif [ -e "$root/etc/$name/config.yaml" ]; then
    echo "stheno is installed and finds the configuration that is there; look at it with"
    echo "  stheno check --config /etc/$name/config.yaml"
else
    echo "stheno is installed; put a configuration to /etc/$name (examples: /usr/share/doc/stheno/examples), then"
    echo "  stheno check --config /etc/$name/config.yaml"
fi
