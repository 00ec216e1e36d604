#!/usr/bin/env bash
# Version: twisted 25.5.0 with cryptography 46.0.3, Python 3.11; client: sftp of OpenSSH 9.2.
# Expected: the SFTP server of twisted.conch for the users of a machine (twisted.conch.unix, what `twistd conch` serves)
#   takes a file from OpenSSH's sftp, as its documentation says.
# Happens: the login and the subsystem work, then every operation on a name is refused, even the resolution of `.` with
#   which sftp begins. `UnixConchUser.getHomeDir` returns a str, `SFTPServerForUnixConchUser._absPath` wants an object with
#   `.path`; the client hears SSH_FX_FAILURE for whatever it asks.
# Seen: sftp ends with `Need cwd`, and the server's log has
#   AttributeError: 'str' object has no attribute 'path'
set -u
command -v sftp >/dev/null && command -v ssh-keygen >/dev/null || { echo "sftp and ssh-keygen of OpenSSH are missing"; exit 2; }
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv" &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "twisted[conch]==25.5.0" "cryptography==46.0.3" ||
    { echo "the packages cannot be had"; exit 2; }

cat >"$folder/server.py" <<'PYTHON'
import sys

from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.conch import unix
from twisted.conch.ssh import factory, keys
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ISSHPrivateKey
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.python import log
from zope.interface import implementer


@implementer(ICredentialsChecker)
class AnyKey:
    credentialInterfaces = (ISSHPrivateKey,)

    def requestAvatarId(self, credentials):
        return credentials.username


log.startLogging(sys.stderr, setStdout=False)
key = keys.Key(rsa.generate_private_key(65537, 2048))
server = factory.SSHFactory()
server.publicKeys, server.privateKeys = {b"ssh-rsa": key.public()}, {b"ssh-rsa": key}
server.getPrimes = lambda: None
server.portal = Portal(unix.UnixSSHRealm(), [AnyKey()])
port = reactor.listenTCP(0, server, interface="127.0.0.1")
print(port.getHost().port, flush=True)
reactor.run()
PYTHON
"$folder/venv/bin/python" "$folder/server.py" >"$folder/port" 2>"$folder/log" &
server=$!
for _ in $(seq 300); do [ -s "$folder/port" ] && break; sleep 0.1; done
[ -s "$folder/port" ] || { echo "the server does not start"; tail -5 "$folder/log"; exit 2; }

ssh-keygen -q -t ed25519 -N '' -f "$folder/key"
echo hello >"$folder/here"
printf 'put %s %s\n' "$folder/here" "$folder/there" >"$folder/batch"
said=$(sftp -q -b "$folder/batch" -F none -i "$folder/key" -P "$(cat "$folder/port")" -o StrictHostKeyChecking=no \
    -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes "$(id -un)@127.0.0.1" 2>&1)
status=$?
if [ "$status" -ne 0 ] && [ ! -e "$folder/there" ] && grep -q "'str' object has no attribute 'path'" "$folder/log"; then
    echo "as stated: ${said##*$'\n'}"
    exit 0
fi
echo "changed: sftp ended with $status and said: $said"
exit 1
