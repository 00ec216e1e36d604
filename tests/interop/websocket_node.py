"""A pullwss node on the Python library websockets: websocket_node.py URL TOKEN SCENARIO [CA]. Status 0 when all was right."""
import asyncio
import html
import html.entities
import json
import ssl
import sys
import threading
import time

import gorgone_peer as peer
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

url, token, scenario, *ca = sys.argv[1:]
DEADLINE = time.time() + 40


def open_socket(bearer=token):
    return connect(url, additional_headers={"Authorization": f"Bearer {bearer}"}, compression=None, max_size=None,
                   proxy=None, open_timeout=30, close_timeout=2)


def encode(text):
    """As Perl's HTML::Entities does it: names where there are some, numbers for the rest."""
    def one(char):
        name = html.entities.codepoint2name.get(ord(char))
        if char == "'":
            return "&#39;"
        return f"&{name};" if name else char if ord(char) < 127 else f"&#x{ord(char):X};"
    return "".join(map(one, text))


def register(socket, *ids):
    nodes = [{"id": number, "type": "wss", "identity": number} for number in ids]
    socket.send(peer.build("REGISTERNODES", "", "", {"nodes": nodes}).decode())


def joined(number=7):
    socket = open_socket()
    register(socket, number)
    return socket


def pong(socket, asked, number=7):
    data = {"code": 0, "data": {"action": "ping", "message": "ping ok", "id": number, "hostname": "é", "data": {}}}
    socket.send(encode(peer.build("PONG", asked, "", data).decode()))


def set_logs(socket, asked, rows, parts=1, number=7):
    data = {"code": 0, "data": {"action": "getlog", "id": number, "result": rows, "nb_total_msg": parts}}
    socket.send(encode(peer.build("SETLOGS", asked, "", data).decode()))


def row(number, of, text):
    return {"id": str(number), "token": of, "code": 2, "etime": number, "ctime": number + 0.5, "instant": 0,
            "data": json.dumps({"message": text}, ensure_ascii=False)}


def messages(socket, until=None):
    """What the central says, read; answers its PINGs on the way."""
    while time.time() < (until or DEADLINE):
        try:
            text = socket.recv(timeout=0.3)
        except TimeoutError:
            continue
        action, asked, target, data = peer.parse(text.encode())
        assert action != "ACK", f"a WebSocket node gets no ACK: {text}"
        if action == "PING":
            pong(socket, asked)
        else:
            yield action, asked, json.loads(data)


def serve():
    """Takes one COMMAND and gives its row to GETLOG, everything entity-encoded."""
    socket, of = joined(), None
    for action, asked, data in messages(socket):
        if action == "COMMAND":
            assert data["content"] == [{"command": "echo <&\"'> café €"}], data
            of = asked
        elif action == "GETLOG":
            set_logs(socket, asked, [row(1, of, "done <afar> & 'café' \"€\"")] if of else [])
            if of:
                time.sleep(1)
                socket.send(peer.build("UNREGISTERNODES", "", "", {"nodes": [{"id": 7, "type": "wss"}]}).decode())
                socket.close()
                return
    raise AssertionError("no COMMAND and GETLOG came")


def parts():
    """First without part 2, then all, the last first and one twice; the mark must wait for the whole."""
    socket, asked_from = joined(), []
    three = [row(1, "part-1", "x"), row(2, "part-2", "y" * 100_000), row(3, "part-3", "z")]
    for action, asked, data in messages(socket):
        if action != "GETLOG":
            continue
        asked_from.append(float(data.get("ctime", 0)))
        if len(asked_from) == 1:
            assert asked_from[0] == 0, asked_from
            order = [0, 2]
        elif asked_from[-1] < 3.5:
            order = [2, 0, 0, 1]
        else:
            assert asked_from[1] < 2, f"part 2 was missing, but the mark moved: {asked_from}"
            set_logs(socket, asked, [])
            return
        for number in order:
            set_logs(socket, asked, [three[number]], parts=3)
    raise AssertionError(f"asked from {asked_from}")


def refusal(expected, bearer=token, first=None, limit=20):
    begun = time.time()
    socket = open_socket(bearer)
    try:
        if first:
            socket.send(first)
    except ConnectionClosed:
        pass  # The refusal may be there already.
    text = socket.recv(timeout=limit)
    assert json.loads(text) == {"code": 500, "message": expected}, f"{text} instead of {expected}"
    try:
        socket.recv(timeout=15)
    except ConnectionClosed:
        return time.time() - begun
    raise AssertionError(f"not closed after {expected}")


def refusals():
    good = peer.build("REGISTERNODES", "", "", {"nodes": [{"id": 7, "type": "wss", "identity": 7}]}).decode()
    for bearer in ("", "x", token[:-1], token + "x", token.upper()):
        refusal("token authorization unallowed", bearer=bearer, first=good)
    for first in ("[PONG] [] [] {}", '[COMMAND] [] [] {"content":[]}', "[SETLOGS] [] [] {}"):
        refusal("please registernodes", first=first)
    refusal("decode error: unsupported format", first="[REGISTERNODES] [] [] {broken")


def silent():
    passed = refusal("timeout reached", limit=25)
    assert passed >= 3, f"a node has some time to register, not {passed} s"


def too_large():
    """A node that has registered may send its whole backlog; anybody else is closed with 1009 above 262144 bytes."""
    socket = joined()
    socket.send("[PONG] [] [] " + "{}" + " " * 1_000_000)
    assert socket.ping().wait(20), "a large message of a node closed the connection"
    socket = open_socket()
    socket.send("x" * 262_145)
    try:
        while True:
            socket.recv(timeout=20)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None and closed.rcvd.code == 1009, closed


def control_frames():
    """Pings between fragments, of up to 125 bytes, come back as they were."""
    socket = joined()
    for payload in (b"", b"x", bytes(range(125))):
        assert socket.ping(payload).wait(20), payload
    text = encode(peer.build("PONG", "", "", {"code": 0, "data": {"id": 7, "data": {}}}).decode())
    socket.send(iter([text[:1], text[1:10], text[10:]]))
    assert socket.ping().wait(20), "fragments closed the connection"


def sealed():
    """The same inside TLS. Not with the client of threads: it reads and writes one OpenSSL connection from two threads, which
    breaks the connection now and then when the ticket of TLS 1.3 comes while it writes its request, with any server."""
    async def converse():
        context = ssl.create_default_context(cafile=ca[0])
        async with connect_async(url, additional_headers={"Authorization": f"Bearer {token}"}, compression=None, ssl=context,
                                 proxy=None, open_timeout=30) as socket:
            nodes = [{"id": 7, "type": "wss", "identity": 7}]
            await socket.send(peer.build("REGISTERNODES", "", "", {"nodes": nodes}).decode())
            for payload in (b"", b"x", bytes(range(125))):
                await asyncio.wait_for(await socket.ping(payload), 10)
            text = encode(peer.build("PONG", "", "", {"code": 0, "data": {"id": 7, "data": {}}}).decode())
            await socket.send(iter([text[:1], text[1:10], text[10:]]))
            await asyncio.wait_for(await socket.ping(), 10)
    asyncio.run(converse())


def replaced():
    """The second connection of an id takes the place of the first."""
    first = joined()
    assert first.ping().wait(20)
    second = joined()
    try:
        while True:
            first.recv(timeout=20)
    except ConnectionClosed:
        pass
    for action, asked, data in messages(second):
        if action == "COMMAND":
            set_logs(second, "", [row(1, asked, "the second")])
            time.sleep(1)
            return
    raise AssertionError("the second connection got no COMMAND")


def foreign():
    """Speaks for node 8: nothing of it may count. Being closed for it is fine."""
    socket = joined()
    assert socket.ping().wait(20)
    try:
        register(socket, 8)
        pong(socket, "", number=8)
        set_logs(socket, "", [row(1, "forged", "of node 8")], number=8)
        socket.send(peer.build("UNREGISTERNODES", "", "", {"nodes": [{"id": 8, "type": "wss"}]}).decode())
        socket.ping().wait(2)
    except ConnectionClosed:
        pass


def fleet():
    """20 nodes, ten PONGs a second each, 100 commands each: all arrive, in order."""
    numbers = {number: [] for number in range(101, 121)}
    wrong = []

    def run(number):
        socket = joined(number)
        due, until = time.time(), time.time() + 18
        while len(numbers[number]) < 100 and time.time() < until:
            try:
                text = socket.recv(timeout=max(0.001, due - time.time()))
                action, _, _, data = peer.parse(text.encode())
                if action == "COMMAND":
                    numbers[number].append(int(json.loads(data)["content"][0]["command"].split()[1]))
            except TimeoutError:
                pass
            if time.time() >= due:
                pong(socket, "", number)
                due += 0.1
        if numbers[number] != list(range(100)):
            wrong.append(f"node {number} got {len(numbers[number])}: {numbers[number]}")
        socket.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()
    assert not wrong, wrong


{name: value for name, value in globals().items() if callable(value)}[scenario]()
