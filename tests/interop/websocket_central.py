"""The central of a pullwss node on the Python library websockets, with the habits of a Perl one:
websocket_central.py PORT TOKEN SCENARIO [PATH]. Prints 'ready'; status 0 when all was right."""
import html
import json
import re
import sys
import threading
import time

import gorgone_peer as peer
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

port, token, scenario, *path = sys.argv[1:]
failures, done = [], threading.Event()


def decoded(text):
    """As Perl's HTML::Entities: a number is that character, never Windows-1252. The characters are bytes of UTF-8."""
    text = re.sub(r'&#(\d+);', lambda number: chr(int(number[1])), text)
    return html.unescape(text).encode('latin-1').decode()


def read(text, encoded):
    """A message of the node; PONG, SETLOGS and SYNCLOGS are encoded, REGISTERNODES is not."""
    if encoded:
        assert not set(text) & set("<>\"'") and text.isascii(), f"not encoded: {text}"
        text = decoded(text)
    action, asked, target, data = peer.parse(text.encode())
    return action, asked, json.loads(data)


def next_of(socket, action, limit=15):
    end = time.time() + limit
    while time.time() < end:
        text = socket.recv(timeout=max(0.01, end - time.time()))
        assert len(text) <= 262_144, len(text)
        message = read(text, encoded=text.startswith(("[PONG]", "[SETLOGS]", "[SYNCLOGS]")))
        assert message[0] in ("REGISTERNODES", "UNREGISTERNODES", "PONG", "SETLOGS", "SYNCLOGS"), text
        if message[0] == action:
            return message, len(decoded(text))
    raise AssertionError(f"no {action} within {limit} s")


def answer(socket):
    """All parts of the answer to one GETLOG."""
    socket.send(peer.build("GETLOG", "log-1", "", {"ctime": 0}).decode())
    rows, count = [], 0
    while True:
        (_, asked, data), size = next_of(socket, "SETLOGS")
        data, count = data["data"], count + 1
        assert (data["action"], asked) == ("getlog", "log-1"), data
        # Counted before the encoding, which the limit may or may not include. A part of one row may be larger.
        assert len(data["result"]) <= 1 or size <= 2048, f"a part of {size} characters"
        rows += data["result"]
        if count == int(data["nb_total_msg"]):
            return rows, count


def check_upgrade(socket):
    headers = socket.request.headers
    assert headers["Authorization"] == f"Bearer {token}", headers
    assert socket.request.path == (path[0] if path else "/"), socket.request.path


def registered(socket):
    check_upgrade(socket)
    text = socket.recv(timeout=10)
    assert text.startswith("[REGISTERNODES] "), text
    node = read(text, encoded=False)[2]["nodes"][0]
    assert (str(node["id"]), node["type"], str(node["identity"])) == ("7", "wss", "7"), node


def work(socket):
    """A ping, a command in Latin-1, its rows in several parts, and the leave."""
    registered(socket)
    socket.send("[ACK] [] {\"code\":0}")
    socket.send(b"[PING] [ping-1] [] {\"x\":\"\xe9\xff\xc3\"}", text=True)
    (_, asked, data), _ = next_of(socket, "PONG")
    assert asked == "ping-1" and str(data["data"]["id"]) == "7", data
    assert socket.ping(bytes(125)).wait(20), "no pong to a ping of WebSocket itself"
    socket.send(b"[COMMAND] [cmd-1] [] {\"content\":[{\"command\":\"echo caf\xe9 '<&>'\"}]}", text=True)
    for number in range(20):
        socket.send(f'[COMMAND] [more-{number}] [] {{"content":[{{"command":"echo {number}"}}]}}')
    end = time.time() + 15
    while time.time() < end:
        rows, parts = answer(socket)
        finished = {row["token"] for row in rows if int(row["code"]) == 2}
        if len(finished) == 21:
            break
        time.sleep(0.2)
    assert len(finished) == 21, finished
    results = [json.loads(row["data"])["result"]["stdout"] for row in rows
               if row["token"] == "cmd-1" and int(row["code"]) == 100]
    assert results == ["café <&>"], results
    assert parts > 1, "rows of more than max_msg_size come in several parts"
    print("stop", flush=True)
    next_of(socket, "UNREGISTERNODES")
    try:
        raise AssertionError(f"a close, and not {socket.recv(timeout=15)}")
    except ConnectionClosed as closed:
        assert closed.rcvd is not None and closed.rcvd.code == 1001, closed


def drop(socket):
    """Closes twice; the node is back each time."""
    registered(socket)
    drop.count = getattr(drop, "count", 0) + 1
    if drop.count < 3:
        socket.close()
        raise ConnectionError


def arrives(socket):
    registered(socket)


def handle(socket):
    try:
        {"work": work, "drop": drop, "arrives": arrives}[scenario](socket)
        done.set()
        socket.close()
    except ConnectionError:
        pass
    except (AssertionError, ConnectionClosed, TimeoutError) as error:
        failures.append(error)
        done.set()


with serve(handle, "127.0.0.1", int(port), compression=None, max_size=None, ping_interval=None) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    in_time = done.wait(40)
    server.shutdown()
if failures or not in_time:
    sys.exit(f"{failures or 'no node came'}")
