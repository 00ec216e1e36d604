#!/usr/bin/env bash
# Version: tinysshd 20230101-1 (Debian 12), started for each connection by socat 1.7.4; client: OpenSSH 9.2.
# Expected: a shared connection of OpenSSH (ControlMaster) serves one command after the other, as with an sshd that has
#   `MaxSessions 1`: the channel of the first is closed before the second wants one.
# Happens: tinysshd ends the whole connection when the command of its one channel ends. The master process is gone after
#   the first command, and whoever counts on it dials again, without a word, for each one.
#   Also seen: its login refuses a home below any folder that others may write, be it sticky, so not in /tmp.
# Seen: `ssh -O check` says "Master running" before the command and fails after it; the server's log has two connections
#   for a master with one command and one more command.
set -u
command -v ssh >/dev/null && command -v dpkg >/dev/null || { echo "OpenSSH's client and dpkg are needed"; exit 2; }
folder=$(mktemp -d -p "$HOME")
server=
trap 'ssh -S "$folder/master" -O exit x 2>/dev/null; [ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder" || exit 2
apt-get download -q tinysshd=20230101-1 socat=1.7.4.4-2 libnss-wrapper=1.1.12-1 >/dev/null 2>&1 ||
    { echo "the packages cannot be had"; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
wrapper=$(find root -name libnss_wrapper.so)

mkdir -p home/.ssh && chmod 700 home home/.ssh
ssh-keygen -q -t ed25519 -N '' -f key && cp key.pub home/.ssh/authorized_keys && chmod 600 home/.ssh/authorized_keys
user=$(id -un)
echo "$user:x:$(id -u):$(id -g)::$folder/home:/bin/sh" >passwd
echo "$(id -gn):x:$(id -g):" >group
root/usr/sbin/tinysshd-makekey keys
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
NSS_WRAPPER_PASSWD=$folder/passwd NSS_WRAPPER_GROUP=$folder/group root/usr/bin/socat \
    "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork" \
    EXEC:"env LD_PRELOAD=$folder/$wrapper $folder/root/usr/sbin/tinysshd -v $folder/keys" 2>log &
server=$!
for _ in $(seq 100); do (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done

shared=(ssh -F none -i key -p "$port" -o StrictHostKeyChecking=no -o "UserKnownHostsFile=$folder/hosts"
    -o IdentitiesOnly=yes -o LogLevel=ERROR -S "$folder/master")
"${shared[@]}" -M -N -f "$user@127.0.0.1" || { echo "no login: $(tail -1 log)"; exit 2; }
before=$("${shared[@]}" -O check "$user@127.0.0.1" 2>&1)
first=$("${shared[@]}" "$user@127.0.0.1" echo one)
for _ in $(seq 50); do [ -S master ] || break; sleep 0.1; done
after=$("${shared[@]}" -O check "$user@127.0.0.1" 2>&1)
second=$("${shared[@]}" "$user@127.0.0.1" echo two)
connections=$(grep -c ' accepted ' log)
echo "before: $before"
echo "after:  $after"
echo "commands: $first $second; connections with a login: $connections"
case "$before/$after/$first/$second/$connections" in
*running*/*"No such file"*/one/two/2) exit 0 ;;
esac
echo "changed: the shared connection outlives its command"
exit 1
