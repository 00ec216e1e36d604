"""A client on libzmq: client.py ENDPOINT KEY SCENARIO [ARGUMENT…]. Ends with status 0 when everything was as it must be."""
import json
import sys
import time

import gorgone_peer as peer
import zmq

endpoint, key, scenario, *arguments = sys.argv[1:]


def connect(**options):
    context = zmq.Context()
    context.setsockopt(zmq.IPV6, 1 if "[" in endpoint else 0)
    return peer.GorgoneClient(endpoint, key, ctx=context, **options).connect()


def same(left, right, what):
    assert left == right, f"{what}: {left!r} instead of {right!r}"


def rows_of(client, **filters):
    reply = client.request("GETLOG", "rows", "", filters)
    same((reply[0], reply[3]["code"]), ("ACK", 0), "GETLOG")
    same(reply[3]["data"]["action"], "getlog", "GETLOG")
    return reply[3]["data"]["result"]


def core_actions():
    """docs/protocol.md section 4, line by line."""
    client = connect()
    kind, token, target, reply = client.request("PING", "ping-1")
    same((kind, token, target), ("PONG", "ping-1", ""), "PING")
    same(reply["code"], 0, "PING")
    data = reply["data"]
    same((data["action"], data["message"], str(data["id"]), data["hostname"]), ("ping", "ping ok", "1", "central"), "PING")
    assert "7" in data["data"], f"the map of a PONG names the registered node: {data}"

    kind, token, target, reply = client.request("CONSTATUS", "constatus-1")
    same((kind, target, reply["code"]), ("CONSTATUS", None, 2), "CONSTATUS")
    same((reply["data"]["action"], reply["data"]["message"]), ("constatus", "ok"), "CONSTATUS")
    node = reply["data"]["data"]["7"]
    for field in ("type", "nodes", "last_ping_sent", "last_ping_recv", "next_ping", "in_progress_ping", "ping_ok",
                  "ping_failed", "ping_timeout"):
        assert field in node, f"constatus lacks {field}: {node}"
    same(len(rows_of(client, token="constatus-1")), 1, "history row of CONSTATUS")

    kind, _, _, reply = client.request("GETTHUMBPRINT", "thumb-1")
    same((kind, reply["code"], reply["data"]["action"]), ("GETTHUMBPRINT", 2, "getthumbprint"), "GETTHUMBPRINT")
    same(reply["data"]["data"]["thumbprint"], peer.thumbprint(client.server_pub), "GETTHUMBPRINT")
    same(len(rows_of(client, token="thumb-1")), 1, "history row of GETTHUMBPRINT")

    kind, _, _, reply = client.request("INFORMATION", "info-1")
    same((kind, reply["code"]), ("INFORMATION", 2), "INFORMATION")
    for field in ("counters", "modules", "api_endpoints"):
        assert field in reply["data"]["data"], f"INFORMATION lacks {field}: {reply['data']}"
    same(len(rows_of(client, token="info-1")), 1, "history row of INFORMATION")

    for number in range(5):
        _, _, _, reply = client.request("PUTLOG", "put", "", {
            "code": 4, "etime": 1000 + number, "token": "mine", "instant": 0, "data": {"message": f"n {number} €"}})
        same((reply["code"], reply["data"]["message"]), (0, "message inserted"), "PUTLOG")
    rows = rows_of(client, token="mine")
    same([json.loads(row["data"])["message"] for row in rows], [f"n {number} €" for number in range(5)], "GETLOG by token")
    same([int(row["code"]) for row in rows], [4] * 5, "codes")
    same([int(row["id"]) for row in rows], sorted(int(row["id"]) for row in rows), "rows by id")
    assert all(abs(float(row["ctime"]) - time.time()) < 60 for row in rows), "ctime is when it was stored here"
    same(len(rows_of(client, token="mine", etime=1002)), 2, "etime is a lower bound")
    same(len(rows_of(client, token="mine", id=int(rows[2]["id"]))), 2, "id is a lower bound")
    same(len(rows_of(client, token="mine", ctime=rows[-1]["ctime"])), 0, "ctime is a lower bound")
    same([int(row["etime"]) for row in rows_of(client, token="mine", limit=2)], [1003, 1004], "limit takes the newest")
    same(rows_of(client, token="mine", code=2), [], "filters are ANDed")

    _, _, _, reply = client.request("GETLOG", "none", "", {})
    same((reply["code"], reply["data"]["message"]), (1, "need at least one filter"), "GETLOG without a filter")
    _, _, _, reply = client.request("SYNCLOGS", "sync-1", "", {"data": {"id": 7}})
    same((reply["code"], reply["data"]["message"]), (0, "synclog launched"), "SYNCLOGS")
    client.request("SETCOREID", "id-1", "", {"id": 99})
    same(str(client.request("PING", "ping-2")[3]["data"]["id"]), "1", "an id of the configuration stays")
    same(client.request("BCASTLOGGER", "log-1", "", {"content": {"severity": "debug"}})[1], "log-1", "BCASTLOGGER")
    client.request("BCASTLOGGER", "log-2", "", {"content": {"severity": "default"}})
    client.close()


def strange_messages():
    """Unknown actions, envelopes that are none, tokens of every kind."""
    client = connect()
    kind, token, _, reply = client.request("NOSUCHTHING", "their.own:token_1-x")
    same((kind, token, reply["code"]), ("ACK", "their.own:token_1-x", 1), "unknown action")
    same(reply["data"], {"error": "unknown_action", "message": "action 'NOSUCHTHING' is unknown"}, "unknown action")
    row = rows_of(client, token="their.own:token_1-x")[0]
    same((int(row["code"]), json.loads(row["data"])["error"]), (1, "unknown_action"), "row of an unknown action")

    for plain in (b"[PING", b"[PING] no brackets", b"[PING] [a", b"[PING] [a] [b", b"[PING] [tok] [] {broken",
                  b"[PING] [tok] [] " + b"[" * 100_000):
        client.send_plain(plain)
        try:
            kind, _, _, reply = client.recv(timeout=2)
            assert kind == "PONG" or reply["code"] == 1, f"{plain[:40]}: {reply}"
        except TimeoutError:
            pass  # Dropping it is fine; dying is not.
    client.send_plain(b"[PING] [tok] []")
    same(client.recv()[0], "PONG", "missing data reads as {}")
    client.send_plain("[PUTLOG] [latin] [] {\"code\":0,\"token\":\"latin\",\"data\":{\"m\":\"caf\u00e9\"}}".encode("latin-1"))
    same(client.recv()[3]["code"], 0, "Latin-1 is read")
    same(json.loads(rows_of(client, token="latin")[0]["data"])["m"], "caf\u00e9", "Latin-1 is kept")
    for action in ("PROXYADDNODE", "PROXYREADY", "PONGRESET", "PROXYCLOSECONNECTION", "PROXYSTOPREADCHANNEL"):
        same(client.request(action, f"no-{action}", "", {"id": 7})[3]["code"], 1, f"{action} is refused")
    token = client.request("PING")[1]
    assert token, "a request without a token gets one"
    client.close()


def handover():
    """The second connection of a routing id takes over, whatever the first does."""
    identity = "gorgone-twin-0123456789ab0123456789ab"
    first = connect(identity=identity)
    same(first.request("PING", "a")[0], "PONG", "the first")
    second = connect(identity=identity)
    for number in range(20):
        same(second.request("PING", f"b{number}")[1], f"b{number}", "the second")
    first.close()
    same(second.request("PING", "after")[1], "after", "the second after the end of the first")
    second.close()


def rotation():
    """The key changes under load; every request is answered once. Prints how many rows there must be."""
    client = connect()
    keys, count, end = {client.keyinfo["key"]}, 0, time.time() + 5
    while time.time() < end:
        for number in range(20):
            client.send("PUTLOG", f"r{count + number}", "", {"code": 4, "token": "rotated", "data": {"n": count + number}})
        answered = [client.recv()[1] for _ in range(20)]
        same(answered, [f"r{count + number}" for number in range(20)], "answers in order")
        count += 20
        keys.add(client.keyinfo["key"])
    assert len(keys) >= 4, f"{len(keys)} keys in 5 s, although each lives for one second"
    client.close()
    print(count)


def replay():
    """Takes up an old session of the same routing id on a new connection: what a client does that was cut off."""
    client = connect()
    client.sock.close(0)
    client._open()
    same(client.request("PING", "again")[1], "again", "the session outlives its connection")
    client.close()


def refused():
    """A key that is not authorised gets one clear answer, and so does a HELO that is none."""
    try:
        connect()
    except peer.GorgoneError as error:
        assert "handshake issue" in str(error), error
        return
    raise AssertionError("a stranger got a session")


def ping():
    client = connect()
    same(client.request("PING", "here")[0], "PONG", "PING")
    client.close()


def command():
    """A command for the node named by the argument, followed through the history."""
    client = connect()
    same(client.request("COMMAND", "cmd-1", arguments[0], {"content": [{"command": "echo out; echo err >&2; exit 3"}]})
         [3]["code"], 0, "COMMAND")
    rows = client.wait_log("cmd-1", arguments[0])
    datas = [json.loads(row["data"]) for row in rows]
    same([int(row["code"]) for row in rows], [0, 0, 100, 2], "codes")
    same([data["message"] for data in datas], ["commands processing has started", "command has started",
         "command has finished successfully", "commands processing has finished successfully"], "messages")
    result = datas[2]
    same(result["result"]["exit_code"], 3, "exit code")
    same(sorted(result["result"]["stdout"].split("\n")), ["err", "out"], "stderr goes into stdout, no newline at the end")
    same(result["command"], "echo out; echo err >&2; exit 3", "command")
    assert {"start", "end", "duration"} <= set(result["metrics"]), result
    assert "request_content" in datas[0], datas[0]
    client.close()


{name: value for name, value in globals().items() if callable(value)}[scenario]()
