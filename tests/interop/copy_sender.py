"""A central that sends copies as a Perl one does: copy_sender.py ENDPOINT KEY FOLDER TARGET. Ends with status 0 when the rows are
word for word those of the contract and what was sent is there.

It reads no reply before it has sent everything, and its base64 text has a newline after every 76 characters."""
import base64
import hashlib
import io
import json
import os
import random
import sys
import tarfile

import gorgone_peer as peer

endpoint, key, folder, target = sys.argv[1:]
BUFFER_SIZE = 150_000
cache = os.path.join(folder, "cache")
os.makedirs(cache, exist_ok=True)
client = peer.GorgoneClient(endpoint, key).connect()
random.seed(7)


def shuffled(members):
    """Perl's hashes come in any order."""
    keys = list(members)
    random.shuffle(keys)
    return {key: shuffled(members[key]) if isinstance(members[key], dict) else members[key] for key in keys}


def send(token, content):
    data = {"logging": None, "content": content, "parameters": {"no_fork": 1}}
    client.send("PROCESSCOPY", token, target, json.dumps(shuffled(data)))


def copy(name, what, kind, destination, digest=None, **attributes):
    token = f"{os.path.basename(folder)}-{name}"
    for start in range(0, len(what), BUFFER_SIZE):
        part = what[start:start + BUFFER_SIZE]
        send(token, {"status": "inprogress", "type": kind, "md5": None, "destination": destination, "cache_dir": cache,
                     "chunk": {"data": base64.encodebytes(part).decode(), "size": len(part)}})
    send(token, {"status": "end", "type": kind, "chunk": None, "destination": destination, "cache_dir": cache,
                 "md5": digest or hashlib.md5(what).hexdigest(), "owner": None, "group": None, **attributes})
    # The rows of a node behind the daemon that was asked come with its log.
    rows = client.wait_log(token, target, poll=0.05)
    return [(int(row["code"]), json.loads(row["data"])["message"]) for row in rows]


def expected(size):
    return [(101, "process copy inprogress")] * -(-size // BUFFER_SIZE) + [(2, "process copy finished successfully")]


for size in (0, 1, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 1, 3_000_000):
    what = random.randbytes(size)
    destination = os.path.join(folder, f"file with 'quotes' {size}")
    rows = copy(f"size-{size}", what, "regular", destination, mode="0640")
    assert rows == expected(size), f"{size} bytes: {rows}"
    with open(destination, "rb") as file:
        assert file.read() == what, f"{size} bytes"
    assert os.stat(destination).st_mode & 0o7777 == 0o640, oct(os.stat(destination).st_mode)

packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
    for name, text in (("one.cfg", b"one"), ("sub/two.cfg", b"two" * 100_000), ("sub/empty", b"")):
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(text), 0o644
        archive.addfile(entry, io.BytesIO(text))
what = packed.getvalue()
directory = os.path.join(folder, "made/on the way")
rows = copy("directory", what, "archive", directory)
assert rows == expected(len(what)), rows
for name, size in (("one.cfg", 3), ("sub/two.cfg", 300_000), ("sub/empty", 0)):
    assert os.path.getsize(os.path.join(directory, name)) == size, name

rows = copy("wrong", b"text", "regular", os.path.join(folder, "wrong"), digest="0" * 32)
assert rows == [(101, "process copy inprogress"), (1, "md5 does not match")], rows
missing = os.path.join(folder, "missing/file")
rows = copy("missing", b"text", "regular", missing)
assert rows[-1] == (1, f"Can't copy file to {missing}, No such file or directory"), rows
assert os.listdir(cache) == [], os.listdir(cache)
client.close()
