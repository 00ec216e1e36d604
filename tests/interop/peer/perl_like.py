"""The habits of a Perl daemon at both ends of a WebSocket, checked opposite the real one of July 2025.

Central: asks `{"ctime": MARK}`, takes the first SETLOGS after a question and skips those that follow, stores its rows, and
goes on at the greatest `ctime` among them (15 digits); asks each second and on SYNCLOGS; closes with 1009 what is larger
than 262,144 bytes. Node: answers a GETLOG with one message, ids sorted as text, each byte of its UTF-8 as an HTML reference
(by name where HTML has one, else decimal), and drops what comes while it sends.
"""
import html.entities
import json
import re

from gorgone_peer import build, parse

MESSAGE_BYTES_MAX = 262_144
NAMES = {code: name for code, name in html.entities.codepoint2name.items() if code < 256}


def encode(text):
    """HTML::Entities::encode_entities of the bytes of a text."""
    def one(byte):
        if byte == 39:
            return "&#39;"
        if byte in NAMES:
            return f"&{NAMES[byte]};"
        return chr(byte) if 32 <= byte < 127 or byte in (9, 10, 13) else f"&#{byte};"
    return "".join(map(one, text.encode()))


def decode(text):
    """HTML::Entities::decode_entities, then the characters as bytes of UTF-8."""
    def one(match):
        number, name = match.groups()
        return chr(int(number)) if number else chr(html.entities.name2codepoint[name])
    return re.sub(r"&(?:#(\d+)|(quot|amp|lt|gt));", one, text).encode("latin-1").decode()


def digits(ctime):
    """As Perl prints a number."""
    return float(f"{float(ctime):.15g}")


class Central:
    """What a central knows of one node."""

    def __init__(self):
        self.mark, self.is_asking, self.rows, self.skipped, self.parts = 0, False, [], 0, 0

    def question(self):
        """The next GETLOG, unless one is under way."""
        if self.is_asking:
            return None
        self.is_asking = True
        return build("GETLOG", "", "", {"ctime": self.mark}).decode()

    def take(self, text):
        """A message of the node; its action."""
        action, asked, _, data = parse(decode(text).encode())
        if action != "SETLOGS":
            return action
        if not self.is_asking:
            self.skipped += 1
            return "skipped"
        self.is_asking = False
        rows = json.loads(data)["data"]["result"]
        self.parts += 1
        self.rows += rows
        self.mark = max([self.mark, *(digits(row["ctime"]) for row in rows)])
        return action


class Node:
    """A node with rows of its own."""

    def __init__(self, number):
        self.number, self.rows, self.busy_until = number, [], 0.0

    def add(self, token, code, data, ctime):
        """A row; the first has the id 1."""
        self.rows.append({"id": str(len(self.rows) + 1), "token": token, "code": code, "etime": int(ctime),
                          "ctime": ctime, "instant": 0, "data": json.dumps(data, ensure_ascii=False)})

    def answer(self, action, asked, data, now):
        """What it says to a message, or None; it hears nothing while it sends."""
        if now < self.busy_until:
            return None
        if action == "PING":
            pong = {"code": 0, "data": {"action": "ping", "message": "ping ok", "id": self.number, "data": {}}}
            return encode(build("PONG", asked, "", pong).decode())
        if action != "GETLOG":
            return None
        since = float(data.get("ctime") or 0)
        rows = sorted((row for row in self.rows if row["ctime"] > since), key=lambda row: row["id"])
        log = {"code": 0, "data": {"action": "getlog", "id": self.number, "result": rows}}
        text = encode(build("SETLOGS", asked, "", log).decode())
        # Some 4 MB a second, as the real one under load.
        self.busy_until = now + len(text) / 4e6
        return text
