"""A tiny HTTP proxy that knows CONNECT alone: connect_proxy.py PORT [USER:PASSWORD]. Prints 'ready', then each target it joins."""
import base64
import socket
import sys
import threading

port, *credentials = sys.argv[1:]


def pump(source, sink):
    try:
        while block := source.recv(65536):
            sink.sendall(block)
    except OSError:
        pass
    finally:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def handle(client):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            return
        head += byte
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    wanted = "Basic " + base64.b64encode(credentials[0].encode()).decode() if credentials else None
    if method != "CONNECT":
        client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
    elif wanted and headers.get("proxy-authorization") != wanted:
        client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    else:
        host, _, number = target.rpartition(":")
        server = socket.create_connection((host.strip("[]"), int(number)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        print(target, flush=True)
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        pump(client, server)
    client.close()


with socket.create_server(("127.0.0.1", int(port))) as listener:
    print("ready", flush=True)
    while True:
        threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()
