"""A node with a Perl daemon's habits: perl_node.py URL TOKEN ROWS. It has that many rows and one of 300 KB, and drops what
comes while it sends. Prints 'sent' once a question shows that the central has all of them."""
import json
import sys
import time

import gorgone_peer as peer
from perl_like import Node
from websockets.sync.client import connect

url, token, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
TEXT = "café € 日本 русский 🙂 <&\"'>"
node, begun = Node(7), round(time.time() - 60, 5)
for number in range(count):
    node.add(f"row-{number}", 2, {"message": f"{TEXT} {number}"}, round(begun + number * 1e-5, 5))
node.add("large", 2, {"message": "x" * 300_000}, round(begun + count * 1e-5, 5))

with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, compression=None, max_size=None, proxy=None,
             user_agent_header="gorgone mojo") as socket:
    register = peer.build("REGISTERNODES", "", "", {"nodes": [{"id": 7, "type": "wss", "identity": 7}]}).decode()
    socket.send(register)
    end = time.time() + 60
    while time.time() < end:
        try:
            action, asked, _, data = peer.parse(socket.recv(timeout=1).encode("latin-1"))
        except TimeoutError:
            continue
        data = json.loads(data)
        if action == "GETLOG" and float(data.get("ctime") or 0) >= node.rows[-1]["ctime"]:
            print("sent", flush=True)
            sys.exit(0)
        answer = node.answer(action, asked, data, time.time())
        if answer:
            socket.send(answer)
sys.exit("the central does not go on")
