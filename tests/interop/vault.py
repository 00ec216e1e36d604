"""A scripted vault: AppRole login and one path of a KV engine of version 2, over TLS. Arguments: port, certificate, key."""
import http.server
import json
import ssl
import sys


class Vault(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        good = self.path == "/v1/auth/approle/login" and body == {"role_id": "role", "secret_id": "secret-id"}
        self.answer(200 if good else 400, {"auth": {"client_token": "s.token", "lease_duration": 60}} if good else {})

    def do_GET(self):
        good = self.path == "/v1/secret/data/engine" and self.headers["X-Vault-Token"] == "s.token"
        self.answer(200 if good else 403, {"data": {"data": {"pipe": "/run/a-secret-pipe"}}} if good else {})

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Vault)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
