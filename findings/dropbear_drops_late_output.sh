#!/usr/bin/env bash
# Version: dropbear 2022.83-1+deb12u3 (Debian 12); client: OpenSSH 9.2.
# Expected: a command by SSH has all that its processes print, as with OpenSSH's sshd, which keeps the channel until the
#   last of them has closed the output (and which is why `ssh host 'daemon &'` hangs there).
# Happens: dropbear ends the channel when the shell ends. What its background children print afterwards is lost, the exit
#   status says success, and a child that prints is ended by SIGPIPE before its next step. A restart script that goes on
#   in the background and prints one line stops there.
# Seen: the command below prints `early` and never `late`, exit status 0, and the file that the child makes after `late`
#   is absent; with the child's output sent to /dev/null the file is there.
set -u
command -v ssh >/dev/null && command -v dpkg >/dev/null || { echo "OpenSSH's client and dpkg are needed"; exit 2; }
folder=$(mktemp -d -p "$HOME")
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder" || exit 2
apt-get download -q dropbear-bin=2022.83-1+deb12u3 libtomcrypt1=1.18.2-6 libtommath1=1.2.0-6+deb12u1 \
    libnss-wrapper=1.1.12-1 >/dev/null 2>&1 || { echo "the packages cannot be had"; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
wrapper=$(find "$folder/root" -name libnss_wrapper.so)
libraries=$(dirname "$(find "$folder/root" -name 'libtomcrypt.so*' | head -1)")

mkdir -p home/.ssh && chmod 700 home home/.ssh
ssh-keygen -q -t ed25519 -N '' -f key && cp key.pub home/.ssh/authorized_keys && chmod 600 home/.ssh/authorized_keys
user=$(id -un)
echo "$user:x:$(id -u):$(id -g)::$folder/home:/bin/sh" >passwd
echo "$(id -gn):x:$(id -g):" >group
LD_LIBRARY_PATH=$libraries root/usr/bin/dropbearkey -t ed25519 -f host_key >/dev/null 2>&1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
NSS_WRAPPER_PASSWD=$folder/passwd NSS_WRAPPER_GROUP=$folder/group LD_PRELOAD=$wrapper LD_LIBRARY_PATH=$libraries \
    root/usr/sbin/dropbear -F -E -r host_key -P "$folder/pid" -p "127.0.0.1:$port" 2>log &
server=$!
for _ in $(seq 100); do (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done

run() {
    timeout 20 ssh -F none -i key -p "$port" -o StrictHostKeyChecking=no -o "UserKnownHostsFile=$folder/hosts" \
        -o IdentitiesOnly=yes -o LogLevel=ERROR "$user@127.0.0.1" "$1" </dev/null
}
[ "$(run 'echo in')" = in ] || { echo "no login: $(tail -1 log)"; exit 2; }
printed=$(run "(sleep 1; echo late; echo done >$folder/printing) & echo early")
status=$?
run "(sleep 1; echo late; echo done >$folder/silent) >/dev/null & echo early" >/dev/null
for _ in $(seq 100); do [ -s silent ] && break; sleep 0.1; done
after=$(ls -d printing silent 2>/dev/null | tr '\n' ' ')
echo "printed: $printed; exit status: $status; files made by the children: $after"
[ "$printed/$status/$after" = "early/0/silent " ] && exit 0
echo "changed: output of background children arrives, or they go on"
exit 1
