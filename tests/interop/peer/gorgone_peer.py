#!/usr/bin/env python3
"""An independent peer of the protocol in docs/protocol.md, on real libzmq. It shares no code with the daemon.

    from gorgone_peer import GorgoneClient
    c = GorgoneClient('tcp://127.0.0.1:5556', 'keys/client.pem')
    c.connect()
    print(c.request('PING', data={}))
    c.close()

CLI:  gorgone_peer.py ENDPOINT PRIVKEY ACTION [TOKEN] [TARGET] [JSON]
"""
import base64, json, os, re, sys, time
import zmq
from cryptography.hazmat.primitives import serialization, hashes, padding as sympad
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MSG_RE = re.compile(rb'^\[([a-zA-Z0-9:\-_]+?)\]\s+\[(.*?)\]\s+(?:\[(.*?)\]\s+)?(.*)$', re.S)
HEAD_RE = re.compile(rb'^\[[A-Za-z0-9_\-]+?\]')


def b64(b):
    return base64.b64encode(b)          # one line, '=' padded: MIME::Base64::encode_base64($x, '')


def load_public_pem(pem):
    """Perl (CryptX export_key_pem('public')) sends an SPKI body under a 'BEGIN RSA PUBLIC KEY' label,
    so the label cannot be trusted: take the body, try SPKI, then PKCS#1."""
    if isinstance(pem, str):
        pem = pem.encode()
    body = b''.join(l.strip() for l in pem.splitlines() if l and not l.startswith(b'-----'))
    return serialization.load_der_public_key(base64.b64decode(body))   # SPKI or PKCS#1


def public_pem(key, style='perl'):
    """style: perl = SPKI under 'RSA PUBLIC KEY'; spki = 'PUBLIC KEY'; pkcs1 = real PKCS#1."""
    if style == 'pkcs1':
        return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)
    p = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return p.replace(b'BEGIN PUBLIC', b'BEGIN RSA PUBLIC').replace(b'END PUBLIC', b'END RSA PUBLIC') if style == 'perl' else p


def thumbprint(pub):
    """RFC 7638 JWK thumbprint, SHA-256, base64url without padding."""
    n = pub.public_numbers()
    u = lambda i: base64.urlsafe_b64encode(i.to_bytes((i.bit_length() + 7) // 8, 'big')).rstrip(b'=').decode()
    j = '{"e":"%s","kty":"RSA","n":"%s"}' % (u(n.e), u(n.n))
    d = hashes.Hash(hashes.SHA256()); d.update(j.encode())
    return base64.urlsafe_b64encode(d.finalize()).rstrip(b'=').decode()


class Crypt:
    """AES-256-CBC, PKCS#7, key and IV fixed for the whole session (IV is NOT per message)."""
    def __init__(self, key, iv):
        self.key, self.iv = key, iv

    def enc(self, b):
        p = sympad.PKCS7(128).padder(); b = p.update(b) + p.finalize()
        e = Cipher(algorithms.AES(self.key), modes.CBC(self.iv)).encryptor()
        return b64(e.update(b) + e.finalize())

    def dec(self, b):
        d = Cipher(algorithms.AES(self.key), modes.CBC(self.iv)).decryptor()
        p = d.update(base64.b64decode(b)) + d.finalize()
        u = sympad.PKCS7(128).unpadder()
        return u.update(p) + u.finalize()


def parse(plain):
    m = MSG_RE.match(plain)
    if not m:
        return None
    a, t, tg, d = m.groups()
    return a.decode(), t.decode(), (None if tg is None else tg.decode()), d


def build(action, token='', target='', data=None):
    if isinstance(data, (bytes, str)):
        d = data if isinstance(data, bytes) else data.encode()
    else:
        d = json.dumps({} if data is None else data, separators=(',', ':'), ensure_ascii=False).encode()
    return b'[%s] [%s] [%s] ' % (action.encode(), token.encode(), (target or '').encode()) + d


class GorgoneError(Exception):
    pass


class GorgoneClient:
    def __init__(self, endpoint, privkey, identity=None, name=None, trace=None, ctx=None, pem_style='perl'):
        self.endpoint = endpoint
        raw = open(privkey, 'rb').read()
        self.priv = serialization.load_pem_private_key(raw, None)
        self.pub = self.priv.public_key()
        self.name = name or 'gorgone-client'
        # routing id MUST begin with 'gorgone-', else the core drops the message
        self.identity = (identity or f'{self.name}-{os.urandom(12).hex()}').encode()
        self.trace = trace
        self.ctx = ctx or zmq.Context.instance()
        self.sock = None
        self.crypt = None
        self.keyinfo = None
        self.pem_style = pem_style

    def _t(self, dirn, raw, plain=None):
        if self.trace:
            self.trace(dirn, raw, plain)

    def _open(self):
        s = self.ctx.socket(zmq.DEALER)
        s.setsockopt(zmq.IDENTITY, self.identity)
        s.setsockopt(zmq.LINGER, 0); s.setsockopt(zmq.SNDHWM, 0); s.setsockopt(zmq.RCVHWM, 0)
        s.connect(self.endpoint)
        self.sock = s

    def _recv_raw(self, timeout):
        if not self.sock.poll(int(timeout * 1000)):
            raise TimeoutError(f'no answer from {self.endpoint}')
        return self.sock.recv()

    def connect(self, timeout=10):
        if self.sock is None:
            self._open()
        self._t('>', b'[GETPUBKEY]'); self.sock.send(b'[GETPUBKEY]')
        m = self._recv_raw(timeout); self._t('<', m)
        g = re.match(rb'^\s*\[PUBKEY\]\s+\[(.*?)\]', m)
        if not g:
            raise GorgoneError(f'no PUBKEY: {m[:200]!r}')
        self.server_pem = base64.b64decode(g.group(1))
        self.server_pub = load_public_pem(self.server_pem)
        helo = self.server_pub.encrypt(b'HELO', padding.PKCS1v15())
        msg = b'[%s] [%s] [%s]' % (self.name.encode(), b64(public_pem(self.pub, self.pem_style)), b64(helo))
        self._t('>', msg); self.sock.send(msg)
        m = self._recv_raw(timeout)
        if m.startswith(b'[ACK]'):
            self._t('<', m); raise GorgoneError(f'refused: {m.decode()}')
        plain = self.priv.decrypt(base64.b64decode(m), padding.PKCS1v15())
        self._t('<', m, plain)
        g = re.match(rb'^\[KEY\]\s+(.*)$', plain, re.S)
        if not g:
            raise GorgoneError(f'no KEY: {plain[:200]!r}')
        self._setkey(g.group(1))
        return self

    def _setkey(self, js):
        k = self.keyinfo = json.loads(js)
        self.crypt = Crypt(bytes.fromhex(k['key']), bytes.fromhex(k['iv']))

    def send_plain(self, plain):
        raw = self.crypt.enc(plain); self._t('>', raw, plain); self.sock.send(raw)

    def send(self, action, token='', target='', data=None):
        self.send_plain(build(action, token, target, data))

    def recv_plain(self, timeout=10):
        end = time.time() + timeout
        while True:
            raw = self._recv_raw(max(0.001, end - time.time()))
            if raw.startswith(b'['):                      # clear text answer (handshake refused etc.)
                self._t('<', raw); return raw
            plain = self.crypt.dec(raw); self._t('<', raw, plain)
            if plain.startswith(b'[KEY]'):                # key rotation: swallow and switch
                self._setkey(plain[6:]); continue
            return plain

    def recv(self, timeout=10):
        """-> (action, token, target|None, decoded json)"""
        p = self.recv_plain(timeout); r = parse(p)
        if r is None:
            raise GorgoneError(f'cannot parse {p[:200]!r}')
        a, t, tg, d = r
        try:
            d = json.loads(d.decode('utf-8'))
        except UnicodeDecodeError:
            d = json.loads(d.decode('latin-1'))
        return a, t, tg, d

    def request(self, action, token='', target='', data=None, timeout=10):
        """send one message and wait for the answer with the same token (any answer if token is empty)"""
        self.send(action, token, target, data)
        end = time.time() + timeout
        while True:
            r = self.recv(max(0.001, end - time.time()))
            if not token or r[1] == token:
                return r

    def wait_log(self, token, target='', timeout=30, poll=0.3):
        """GETLOG sync on target then GETLOG {token} here until a finish code (1 KO, 2 OK) is seen"""
        end = time.time() + timeout
        rows = []
        while time.time() < end:
            if target:
                self.send('GETLOG', f'{token}-sync', target, {})
                time.sleep(poll)
            r = self.request('GETLOG', f'{token}-log', '', {'token': token})
            rows = r[3]['data'].get('result', [])
            if any(int(x['code']) in (1, 2) for x in rows):
                break
            time.sleep(poll)
        return rows

    def close(self):
        if self.sock is not None:
            self.sock.close(0); self.sock = None


# The ROUTER side: what a push poller or a central's external socket shows.
class GorgoneServer:
    def __init__(self, bind, privkey, core_id, hostname, authorized=None, trace=None):
        self.priv = serialization.load_pem_private_key(open(privkey,'rb').read(), None)
        self.pub = self.priv.public_key(); self.id = core_id; self.hostname = hostname
        self.authorized = authorized; self.trace = trace or (lambda *a: None)
        self.ctx = zmq.Context.instance(); s = self.sock = self.ctx.socket(zmq.ROUTER)
        s.setsockopt(zmq.IDENTITY, b'router-external'); s.setsockopt(zmq.LINGER, 0); s.setsockopt(zmq.ROUTER_HANDOVER, 1)
        s.bind(bind); self.sess = {}; self.handlers = {}
    def send(self, ident, plain, raw=None):
        raw = self.sess[ident].enc(plain); self.trace('>', ident, raw, plain); self.sock.send_multipart([ident, raw])
    def poll(self, timeout):
        end = time.time()+timeout; out=[]
        while time.time() < end:
            if not self.sock.poll(max(1,int((end-time.time())*1000))): break
            parts = self.sock.recv_multipart(); ident, raw = parts[0], parts[1]
            assert len(parts) == 2, parts
            if re.match(rb'^\s*\[GETPUBKEY\]', raw):
                self.trace('<', ident, raw, None)
                m = b'[PUBKEY] [' + b64(public_pem(self.pub)) + b']'; self.trace('>', ident, m, None); self.sock.send_multipart([ident, m]); continue
            if ident in self.sess:
                try:
                    p = self.sess[ident].dec(raw)
                    if HEAD_RE.match(p):
                        self.trace('<', ident, raw, p); out.append((ident, p))
                        r = parse(p); h = self.handlers.get(r[0]) if r else None
                        if h: h(ident, r)
                        continue
                except Exception as e: pass
            g = re.search(rb'\[(.+)\]\s+\[(.+)\]\s+\[(.+)\]$', raw, re.S|re.M)
            if not g:
                self.trace('<', ident, raw, b'??'); continue
            self.trace('<', ident, raw, None)
            cpub = load_public_pem(base64.b64decode(g.group(2)))
            helo = self.priv.decrypt(base64.b64decode(g.group(3)), padding.PKCS1v15())
            if helo != b'HELO': self.sock.send_multipart([ident, b'[ACK] [] {"code":1,"data":{"message":"handshake issue"}}']); continue
            key, iv = os.urandom(32), os.urandom(16); self.sess[ident] = Crypt(key, iv)
            k = b'[KEY] ' + json.dumps({'hostname': self.hostname, 'cipher':'AES','padding':1,'key':key.hex(),'iv':iv.hex()}, separators=(',',':')).encode()
            m = b64(cpub.encrypt(k, padding.PKCS1v15())); self.trace('>', ident, m, k); self.sock.send_multipart([ident, m])
        return out
    def close(self): self.sock.close(0)


if __name__ == '__main__':
    a = sys.argv[1:]
    tr = (lambda d, raw, plain=None: print(d, (plain if plain is not None else raw).decode('latin-1')[:3000])) if os.environ.get('TRACE') else None
    c = GorgoneClient(a[0], a[1], trace=tr).connect()
    r = c.request(a[2], a[3] if len(a) > 3 else '', a[4] if len(a) > 4 else '', json.loads(a[5]) if len(a) > 5 else {})
    print(json.dumps(r)[:20000])
    c.close()
