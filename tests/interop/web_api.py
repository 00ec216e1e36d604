"""A scripted web API with tokens of nodes: login, then GET .../administration/tokens/NAME. Arguments: port, a file.

The first line of the file says what it does: `tokens` answers, `500`, `html` and `nothing` fail in that way. Each call is a line of the output.
"""
import http.server
import json
import sys
import time

BASE = "/centreon/api/latest"
TOKENS = {
    "good": ("s3cret-value", "2999-12-31T23:59:59+00:00", False),
    "revoked": ("s3cret-value", None, True),
    "expired": ("s3cret-value", "2020-01-01T00:00:00+00:00", False),
}


class WebApi(http.server.BaseHTTPRequestHandler):
    def mode(self):
        with open(sys.argv[2], encoding="utf-8") as file:
            return file.readline().strip()

    def answer(self, status, body, kind="application/json"):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def fails(self):
        print(self.command, self.path, flush=True)
        mode = self.mode()
        if mode == "nothing":
            time.sleep(60)
        if mode == "500":
            self.answer(500, json.dumps({"code": 500, "message": "it broke"}))
        if mode == "html":
            self.answer(200, "<html>a web server</html>", "text/html")
        return mode in ("nothing", "500", "html")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.fails():
            return
        wanted = {"security": {"credentials": {"login": "gorgone", "password": "p4ss-word"}}}
        good = self.path == BASE + "/login" and body == wanted
        answer = {"security": {"token": "session"}} if good else {"code": 401, "message": "Invalid credentials"}
        self.answer(200 if good else 401, json.dumps(answer))

    def do_GET(self):
        if self.fails():
            return
        if self.headers["X-AUTH-TOKEN"] != "session":
            return self.answer(403, json.dumps({"code": 403, "message": "forbidden"}))
        name = self.path.removeprefix(BASE + "/administration/tokens/")
        if name not in TOKENS:
            return self.answer(404, json.dumps({"code": 404, "message": "Token not found"}))
        value, expires, is_revoked = TOKENS[name]
        found = {"name": name, "token": value, "expiration_date": expires, "is_revoked": is_revoked, "type": "cma"}
        return self.answer(200, json.dumps(found))

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), WebApi).serve_forever()
