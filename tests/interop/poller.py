"""A push poller on libzmq: poller.py PORT KEY SCENARIO. Prints 'ready'; ends with status 0 when the scenario is through."""
import json
import sys
import time

import gorgone_peer as peer

port, key, scenario = sys.argv[1:]
DEADLINE = time.time() + 25

# Rows as a Perl poller has them: numbers as strings, data as JSON text, ctime with a fraction.
FIRST = {"id": "1", "token": "from-the-poller", "code": 2, "etime": 1000, "ctime": 1000.25, "instant": 0,
         "data": '{"message":"from afar, €"}'}
LATER = {"id": "2", "token": "a-later-row", "code": "2", "etime": "2000", "ctime": "2000.5", "instant": "0",
         "data": '{"message":"later"}'}


def say(ident, kind, token, data, code=0):
    text = json.dumps({"code": code, "data": data}, separators=(",", ":"), ensure_ascii=False)
    target = b"[] " if kind == "PONG" else b""
    server.send(ident, f"[{kind}] [{token}] ".encode() + target + text.encode())


def pong(ident, message):
    say(ident, "PONG", message[1], {"action": "ping", "message": "ping ok", "id": "2", "hostname": "afar", "data": {}})


def rows(ident, message, result):
    say(ident, "ACK", message[1], {"action": "getlog", "id": "2", "result": result})


def serve():
    kept = {"id": "1", "token": "kept", "code": 2, "etime": 1, "ctime": 1.5, "instant": 0,
            "data": '{"message":"from afar"}'}
    server.handlers["GETLOG"] = lambda ident, message: rows(ident, message, [kept])
    while time.time() < DEADLINE + 60:
        server.poll(1)


def sync():
    """Answers the first GETLOG with a row, later ones from its ctime on with another; both marks are checked."""
    asked = []

    def getlog(ident, message):
        ctime = float(json.loads(message[3])["ctime"])
        asked.append(ctime)
        if len(asked) == 1:
            assert ctime == 0, f"the first GETLOG asks from {ctime}"
            rows(ident, message, [FIRST])
        else:
            rows(ident, message, [row for row in (FIRST, LATER) if float(row["ctime"]) > ctime])

    server.handlers["GETLOG"] = getlog
    while 2000.5 not in asked and time.time() < DEADLINE:
        server.poll(0.2)
    assert asked[1] == 1000.25, f"GETLOG asked from {asked}"
    assert 2000.5 in asked, f"GETLOG asked from {asked}"


def command():
    """Takes one COMMAND, keeps its result, and gives it to the GETLOG that follows."""
    seen = []

    def take(ident, message):
        action, token, target, data = message
        assert target == "", f"a direct target reads [], not [{target}]"
        content = json.loads(data)["content"]
        assert content == [{"command": "echo hello"}], data
        seen.append(token)
        print(token, flush=True)

    def getlog(ident, message):
        result = [{"id": str(number), "token": token, "code": 2, "etime": 1, "ctime": 1.5 + number, "instant": 0,
                   "data": '{"message":"done afar"}'} for number, token in enumerate(seen)]
        rows(ident, message, result)
        if seen:
            answered.append(True)

    answered = []
    server.handlers["COMMAND"] = take
    server.handlers["GETLOG"] = getlog
    while not answered and time.time() < DEADLINE:
        server.poll(0.2)
    assert seen, "no COMMAND came"


def refuse():
    """Answers every handshake as a poller does that does not know the client's key."""
    while time.time() < DEADLINE:
        if not server.sock.poll(200):
            continue
        ident, raw = server.sock.recv_multipart()
        if raw.startswith(b"[GETPUBKEY]"):
            server.sock.send_multipart([ident, b"[PUBKEY] [" + peer.b64(peer.public_pem(server.pub)) + b"]"])
        else:
            server.sock.send_multipart([ident, b'[ACK] [] {"code":1,"data":{"message":"handshake issue"}}'])


server = peer.GorgoneServer(f"tcp://127.0.0.1:{port}", key, "2", "afar")
server.handlers["PING"] = pong
print("ready", flush=True)
{"serve": serve, "sync": sync, "command": command, "refuse": refuse}[scenario]()
server.poll(0.5)  # The socket does not linger: let the last answer leave it.
server.close()
