"""A central with a Perl daemon's habits: perl_central.py PORT TOKEN COMMANDS. Our node runs that many commands and one whose
output has 300 KB. Prints 'ready'; status 0 when every row came, once and unchanged."""
import collections
import json
import sys
import threading
import time

import gorgone_peer as peer
from perl_like import MESSAGE_BYTES_MAX, Central
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

port, token, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
TEXT = "café € 日本 русский 🙂 <&\"'>"
LARGE = 300_000
central, done, failures, sent = Central(), threading.Event(), [], threading.Event()


def command(number):
    text = f"{TEXT} {number}".replace("'", "'\\''")
    return f"printf %s '{text}'" if number else f"head -c {LARGE} /dev/zero | tr '\\0' x"


def ended():
    return {row["token"] for row in central.rows if int(row["code"]) in (1, 2) and row["token"].startswith("c-")}


def handle(socket):
    assert socket.request.headers["Authorization"] == f"Bearer {token}"
    central.is_asking = False
    try:
        assert socket.recv(timeout=20).startswith("[REGISTERNODES] ")
        if not sent.is_set():
            sent.set()
            for number in range(count + 1):
                data = {"content": [{"command": command(number)}]}
                socket.send(peer.build("COMMAND", f"c-{number}", "", json.dumps(data, ensure_ascii=False)).decode())
        asked = 0.0
        while len(ended()) < count + 1:
            if time.time() - asked > 1:
                asked = time.time()
                question = central.question()
                if question:
                    socket.send(question)
            try:
                action = central.take(socket.recv(timeout=0.3))
            except TimeoutError:
                continue
            asked = 0.0 if action == "SYNCLOGS" else asked
        done.set()
    except ConnectionClosed:
        pass
    except AssertionError as error:
        failures.append(error)
        done.set()


with serve(handle, "127.0.0.1", port, compression=None, max_size=MESSAGE_BYTES_MAX, ping_interval=None,
           server_header="Mojolicious (Perl)") as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    in_time = done.wait(150)
    server.shutdown()
results = {row["token"]: json.loads(row["data"])["result"]["stdout"] for row in central.rows if int(row["code"]) == 100}
wrong = [token for number in range(1, count + 1) if results.get(token := f"c-{number}") != f"{TEXT} {number}"]
doubled = [key for key, times in collections.Counter(row["id"] for row in central.rows).items() if times > 1]
assert in_time and not failures, f"{len(ended())} of {count + 1} ended, {central.parts} parts; {failures}"
assert not wrong and not doubled, f"wrong: {wrong[:3]}, twice: {doubled[:3]}"
large = results["c-0"]
assert large.startswith("x" * 100_000), f"the large row has {len(large)} characters"
print(f"{central.parts} parts, {central.skipped} skipped, the large row has {len(large)} characters")
