"""A pull node, or the central of one, on libzmq: pull.py node|central ENDPOINT KEY SCENARIO. Status 0 when all was right."""
import json
import re
import sys
import time

import gorgone_peer as peer

role, endpoint, key, scenario = sys.argv[1:]
DEADLINE = time.time() + 40
NODES = {"id": 6, "type": "pull"}


def rows(token, message):
    return [{"id": "1", "token": token, "code": "2", "etime": "1", "ctime": "1.5", "instant": "0",
             "data": json.dumps({"message": message})}]


def as_node():
    """Registers as node 6, answers a PING, takes one COMMAND, gives its row to GETLOG, then takes its leave."""
    client = peer.GorgoneClient(endpoint, key, name="gorgone-6").connect()
    nodes = {"nodes": [{**NODES, "identity": client.identity.decode()}]}
    client.send("REGISTERNODES", "", "", nodes)
    token, registered = None, time.time()
    while time.time() < DEADLINE:
        if time.time() - registered > 1:
            client.send("REGISTERNODES", "", "", nodes)
            registered = time.time()
        try:
            action, asked, target, data = client.recv(timeout=0.5)
        except TimeoutError:
            continue
        assert target in (None, "", "6"), f"{action} for node 6 has the target {target}"
        if action == "PING":
            client.send("PONG", asked, "", {"code": 0, "data": {
                "action": "ping", "message": "ping ok", "id": "6", "hostname": "afar", "data": {}}})
        elif action == "COMMAND":
            assert target == "6", f"a pull node gets its id in the third field, not {target}"
            assert data["content"] == [{"command": "echo hello"}], data
            token = asked
        elif action == "GETLOG":
            result = rows(token, "done afar") if token else []
            client.send("SETLOGS", asked, "", {"code": 0, "data": {"action": "getlog", "id": "6", "result": result}})
            if token:
                client.send("UNREGISTERNODES", "", "", {"nodes": [NODES]})
                time.sleep(0.3)  # The socket does not linger.
                return
    raise AssertionError("no COMMAND and GETLOG came")


class Central:
    """Collects what a pull node sends."""

    def __init__(self):
        self.server = peer.GorgoneServer(endpoint, key, "1", "above")
        self.seen = []

    def wait(self, what, found, during=lambda: None, limit=15):
        end = time.time() + limit
        while time.time() < end:
            for ident, plain in self.server.poll(0.2):
                self.seen.append((ident, peer.parse(plain)))
            result = found()
            if result:
                return result
            during()
        raise AssertionError(f"not within {limit} s: {what}; seen: {self.seen}")

    def of(self, action):
        return [(ident, message) for ident, message in self.seen if message[0] == action]

    def send(self, ident, action, token, data):
        self.server.send(ident, peer.build(action, token, "6", data))

    def ack(self, ident, message):
        self.server.send(ident, f'[ACK] [{message[1]}] {{"code":0,"data":{{"message":"action ok"}}}}'.encode())

    def registration(self):
        ident, message = self.wait("REGISTERNODES", lambda: self.of("REGISTERNODES"))[-1]
        assert message[2] == "", message
        node = json.loads(message[3])["nodes"][0]
        assert str(node["id"]) == "6" and node["type"] == "pull", node
        assert node["identity"].encode() == ident, f"{node} came from {ident}"
        assert re.fullmatch(rb"gorgone-6-[0-9a-fA-F]{24}", ident), ident
        return ident


def as_central():
    """Works with our node until it takes its leave."""
    central = Central()
    print("ready", flush=True)
    central.server.handlers["REGISTERNODES"] = central.ack
    ident = central.registration()
    central.send(ident, "PING", "ping-1", {})
    _, pong = central.wait("PONG", lambda: central.of("PONG"))[0]
    assert str(json.loads(pong[3])["data"]["id"]) == "6", pong
    central.send(ident, "COMMAND", "cmd-1", {"content": [{"command": "echo hello"}]})

    def result():
        for _, message in central.of("SETLOGS"):
            data = json.loads(message[3])["data"]
            assert data["action"] == "getlog", data
            mine = [row for row in data["result"] if row["token"] == "cmd-1"]
            if any(int(row["code"]) == 2 for row in mine):
                return mine
        return None

    mine = central.wait("SETLOGS with the result", result, lambda: central.send(ident, "GETLOG", "log-1", {"ctime": 0}))
    stdout = [json.loads(row["data"])["result"]["stdout"] for row in mine if int(row["code"]) == 100]
    assert stdout == ["hello"], mine
    assert not central.of("ACK"), f"ACKs stay at home: {central.of('ACK')}"
    print("stop", flush=True)
    central.wait("UNREGISTERNODES", lambda: central.of("UNREGISTERNODES"))


def silent_central():
    """Never answers a registration: the node comes back with another routing id."""
    central = Central()
    print("ready", flush=True)
    first = central.registration()
    central.wait("a new routing id", lambda: [ident for ident, _ in central.of("REGISTERNODES") if ident != first])


{"node": {"serve": as_node}, "central": {"serve": as_central, "silent": silent_central}}[role][scenario]()
