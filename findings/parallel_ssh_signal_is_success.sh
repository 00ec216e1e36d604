#!/usr/bin/env bash
# Version: parallel-ssh 2.16.0.post1 on ssh2-python 1.2.0.post1 (libssh2); server: asyncssh 2.21.1; Python 3.
# Expected: a command that a signal ended, or whose channel was closed before an exit status came, has an exit code that
#   tells it from success: OpenSSH's client ends with 255, paramiko gives -1, and parallel-ssh documents None for a code
#   that is not known.
# Happens: `exit_code` is 0 for both, and `exception` is None. libssh2 begins with the status 0 and changes it only when a
#   status comes; `get_exit_signal` of ssh2-python names no signal either. A run over many hosts that looks at exit codes
#   takes a killed command for a successful one.
# Seen: exit codes 7, 0, 0 for a command that exits with 7, one that a signal ended, and one without a status.
set -u
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv" &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check asyncssh==2.21.1 parallel-ssh==2.16.0.post1 \
        ssh2-python==1.2.0.post1 || { echo "the packages cannot be had"; exit 2; }

cat >"$folder/server.py" <<'PYTHON'
import asyncio

import asyncssh


class AnyUser(asyncssh.SSHServer):
    def begin_auth(self, username):
        return False


async def handle(process):
    process.stdout.write("output\n")
    if process.command == "seven":
        process.exit(7)
    elif process.command == "signal":
        process.channel.exit_with_signal("KILL")
    else:
        process.channel.close()


async def main():
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.create_server(AnyUser, "127.0.0.1", 0, server_host_keys=[key], process_factory=handle)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.wait_closed()


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/server.py" >"$folder/port" 2>"$folder/log" &
server=$!
for _ in $(seq 300); do [ -s "$folder/port" ] && break; sleep 0.1; done
[ -s "$folder/port" ] || { echo "the server does not start"; tail -5 "$folder/log"; exit 2; }

cat >"$folder/client.py" <<'PYTHON'
import sys

from pssh.clients import ParallelSSHClient

codes = []
for command in ("seven", "signal", "closed"):
    client = ParallelSSHClient(["127.0.0.1"], port=int(sys.argv[1]), user="user", password="-", num_retries=1, timeout=20)
    outputs = client.run_command(command)
    client.join(outputs)
    for output in outputs:
        print(f"{command}: output {list(output.stdout)}, exit code {output.exit_code}, exception {output.exception}")
        codes.append(output.exit_code)
sys.exit(0 if codes == [7, 0, 0] else 1)
PYTHON
timeout 120 "$folder/venv/bin/python" "$folder/client.py" "$(cat "$folder/port")" && exit 0
echo "changed: a command without an exit status is told from success"
exit 1
