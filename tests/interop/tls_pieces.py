"""A TLS client that decides how its bytes are cut: tls_pieces.py PORT TOKEN CA. The last flight of the handshake and the first
request leave as one byte string, which is cut in two at every place. The second part goes out when the daemon has surely seen
the first: another connection was answered meanwhile. Status 0 when all was right."""
import socket
import ssl
import sys
import time

port, token, authority = int(sys.argv[1]), sys.argv[2], sys.argv[3]
LIMIT = 20
UPGRADE = (f"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {token}\r\n\r\n").encode()
QUESTION = b"GET /api/internal/thumbprint HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Client:
    """TLS over memory; `out` is what waits to be sent."""

    def __init__(self, version):
        context = ssl.create_default_context(cafile=authority)
        context.minimum_version = context.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        data = self.socket.recv(65536)
        assert data, "the daemon closed the connection"
        self.incoming.write(data)

    def handshake(self):
        """Gives the last flight, which is not sent."""
        while True:
            try:
                self.tls.do_handshake()
                return self.outgoing.read()
            except ssl.SSLWantReadError:
                self.send(self.outgoing.read())
                self.receive()

    def encrypt(self, data):
        self.tls.write(data)
        return self.outgoing.read()

    def answer(self):
        """Reads until the first line of an answer is there."""
        text, deadline = b"", time.time() + LIMIT
        while b"\r\n" not in text and time.time() < deadline:
            try:
                text += self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.receive()
        return text


witness = Client(ssl.TLSVersion.TLSv1_3)
witness.send(witness.handshake())


def daemon_went_on():
    """Another connection is served, so the loop has been at everything that came before."""
    for _ in range(2):
        witness.send(witness.encrypt(QUESTION))
        assert b" 200 " in witness.answer()


cuts = 0
for version, request, expected in ((ssl.TLSVersion.TLSv1_3, UPGRADE, b" 101 "), (ssl.TLSVersion.TLSv1_2, QUESTION, b" 200 ")):
    at = 0
    while True:
        client = Client(version)
        last = client.handshake()
        flight = last + client.encrypt(request)
        client.send(flight[:at])
        if 0 < at < len(flight):
            daemon_went_on()
        client.send(flight[at:])
        try:
            answer = client.answer()
        except (TimeoutError, AssertionError) as error:
            raise AssertionError(f"{version.name}, cut after {at} of {len(flight)} bytes ({len(last)} of the handshake)") from error
        assert expected in answer, f"{version.name}, cut after {at}: {answer}"
        client.socket.close()
        if at >= len(flight):
            break
        at, cuts = at + 1, cuts + 1
print(cuts, "cuts")
