"""A node that takes copies as a Perl one does: copy_receiver.py push|pull ENDPOINT KEY. Runs until its standard input ends.

It knows no question, no place of a chunk and no confirmation of a chunk beyond the reply that every message gets; whatever it does
not know ends in the row `strange message`. Prints `ready`, and how many chunks each copy had."""
import base64
import hashlib
import json
import os
import select
import shutil
import sys
import tarfile
import time

import gorgone_peer as peer

mode, endpoint, key = sys.argv[1:]
ID = "2" if mode == "push" else "6"
rows = []
chunks = {}


def row(token, code, data):
    # A Perl daemon prints its numbers as strings, and its times with 15 digits.
    ctime = max(time.time(), float(rows[-1]["ctime"]) + 0.0001 if rows else 0)
    rows.append({"id": str(len(rows) + 1), "token": token, "code": code, "etime": int(ctime), "ctime": f"{ctime:.5f}",
                 "instant": 0, "data": json.dumps(data)})


def since(asked):
    newest = float(asked.get("ctime") or 0)
    return [row for row in rows if float(row["ctime"]) > newest]


def process_copy(token, data):
    content = data["content"]
    cache = os.path.join(content["cache_dir"], "copy_" + token)
    status, chunk, destination = content["status"], content.get("chunk"), content["destination"]
    if status == "inprogress" and chunk and chunk.get("data") is not None:
        try:
            with open(cache, "ab") as file:
                # MIME::Base64 skips what is no letter of its own.
                file.write(base64.b64decode(chunk["data"])[:chunk["size"]])
        except OSError as error:
            return row(token, 1, {"message": f"file '{cache}' open failed: {error.strerror}"})
        chunks[token] = chunks.get(token, 0) + 1
        return row(token, 101, {"message": "process copy inprogress"})
    if status != "end" or content.get("md5") is None:
        return row(token, 1, {"message": "strange message", "content": content})
    with open(cache, "rb") as file:
        if hashlib.md5(file.read()).hexdigest() != content["md5"]:
            return row(token, 1, {"message": "md5 does not match"})
    if content["type"] == "archive":
        os.makedirs(destination, exist_ok=True)
        with tarfile.open(cache, "r:gz") as archive:
            archive.extractall(destination)
    else:
        try:
            shutil.copyfile(cache, destination)
        except OSError as error:
            return row(token, 1, {"message": f"Can't copy file to {destination}, {error.strerror}"})
        if content.get("mode"):
            os.chmod(destination, int(content["mode"], 8))
    os.unlink(cache)
    print(token, chunks.get(token, 0), flush=True)
    return row(token, 2, {"message": "process copy finished successfully"})


def pong():
    return {"code": 0, "data": {"action": "ping", "message": "ping ok", "id": ID, "hostname": "afar", "data": {}}}


def getlog(data):
    return {"code": 0, "data": {"action": "getlog", "id": ID, "result": since(data)}}


def is_over():
    return bool(select.select([sys.stdin], [], [], 0)[0]) and not sys.stdin.read(1)


def push():
    server = peer.GorgoneServer(endpoint, key, ID, "afar")

    def say(ident, kind, token, data):
        target = " []" if kind == "PONG" else ""
        server.send(ident, f"[{kind}] [{token}]{target} {json.dumps(data)}".encode())

    def copy(ident, message):
        _, token, target, data = message
        assert target == "", f"a direct target reads [], not [{target}]"
        process_copy(token, json.loads(data))
        say(ident, "ACK", token, {"code": 0, "data": None})

    server.handlers["PING"] = lambda ident, message: say(ident, "PONG", message[1], pong())
    server.handlers["GETLOG"] = lambda ident, message: say(ident, "ACK", message[1], getlog(json.loads(message[3])))
    server.handlers["PROCESSCOPY"] = copy
    print("ready", flush=True)
    while not is_over():
        server.poll(0.05)


def pull():
    client = peer.GorgoneClient(endpoint, key, name="gorgone-6").connect()
    client.send("REGISTERNODES", "", "", {"nodes": [{"id": 6, "type": "pull", "identity": client.identity.decode()}]})
    print("ready", flush=True)
    while not is_over():
        try:
            action, token, _, data = client.recv(timeout=0.05)
        except TimeoutError:
            continue
        if action == "PING":
            client.send("PONG", token, "", pong())
        elif action == "GETLOG":
            client.send("SETLOGS", token, "", getlog(data))
        elif action == "PROCESSCOPY":
            process_copy(token, data)


{"push": push, "pull": pull}[mode]()
