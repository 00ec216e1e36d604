//! A small blocking ZMTP 3.x DEALER over one TCP connection, for behaviour that a real library does not allow.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const FLAG_MORE: u8 = 1;
const FLAG_LONG: u8 = 2;
const FLAG_COMMAND: u8 = 4;

/// The 64 bytes that open a connection, with mechanism NULL.
pub fn greeting(minor: u8) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[11] = minor;
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// Returns a frame, in the long form if necessary.
pub fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 9);
    match u8::try_from(body.len()) {
        Ok(length) => bytes.extend_from_slice(&[flags, length]),
        Err(_) => {
            bytes.push(flags | FLAG_LONG);
            bytes.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// The READY command of a DEALER.
pub fn ready(identity: &[u8]) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    for (name, value) in [("Socket-Type", b"DEALER".as_slice()), ("Identity", identity)] {
        body.push(u8::try_from(name.len()).unwrap());
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend_from_slice(value);
    }
    frame(FLAG_COMMAND, &body)
}

/// One connection after its handshake.
pub struct Dealer {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    /// The minor version that the other end offered.
    pub peer_minor: u8,
}

impl Dealer {
    /// Connects to 127.0.0.1 and does the ZMTP handshake as version 3.`minor`.
    pub fn connect(port: u16, identity: &[u8], minor: u8) -> io::Result<Self> {
        let writer = TcpStream::connect(("127.0.0.1", port))?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(Duration::from_secs(10)))?;
        writer.set_write_timeout(Some(Duration::from_secs(10)))?;
        let mut dealer = Self { reader: BufReader::with_capacity(1 << 16, writer.try_clone()?), writer, peer_minor: 0 };
        dealer.writer.write_all(&greeting(minor))?;
        let mut theirs = [0; 64];
        dealer.reader.read_exact(&mut theirs)?;
        let expected = theirs[0] == 0xff && theirs[9] == 0x7f && theirs[10] >= 3 && &theirs[12..17] == b"NULL\0";
        if !expected {
            return Err(io::Error::other(format!("greeting {theirs:?}")));
        }
        dealer.peer_minor = theirs[11];
        dealer.writer.write_all(&ready(identity))?;
        let (flags, body) = dealer.read_frame()?;
        if flags & FLAG_COMMAND == 0 || !body.starts_with(b"\x05READY") {
            return Err(io::Error::other(format!("no READY: {:?}", String::from_utf8_lossy(&body))));
        }
        Ok(dealer)
    }

    /// Sets how long [`Self::receive`] waits.
    pub fn set_timeout(&self, limit: Duration) {
        self.writer.set_read_timeout(Some(limit)).unwrap();
    }

    /// Returns a second handle on the connection. Its writes wait without end if the peer does not read.
    pub fn writer_only(&self) -> io::Result<Self> {
        let writer = self.writer.try_clone()?;
        writer.set_write_timeout(None)?;
        Ok(Self { reader: BufReader::new(writer.try_clone()?), writer, peer_minor: self.peer_minor })
    }

    /// Sends one message of one frame.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.writer.write_all(&frame(0, message))
    }

    /// Writes bytes unchanged.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Returns the next message. Commands are answered or skipped.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let (flags, body) = self.read_frame()?;
            if flags & FLAG_COMMAND == 0 {
                assert_eq!(flags & FLAG_MORE, 0, "a message of this protocol is one frame");
                return Ok(body);
            }
            if let Some(rest) = body.strip_prefix(b"\x04PING") {
                let pong = [b"\x04PONG".as_slice(), &rest[2..]].concat();
                self.writer.write_all(&frame(FLAG_COMMAND, &pong))?;
            } else if body.starts_with(b"\x05ERROR") {
                return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned()));
            }
        }
    }

    fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        let flags = byte[0];
        let length = if flags & FLAG_LONG == 0 {
            self.reader.read_exact(&mut byte)?;
            u64::from(byte[0])
        } else {
            let mut bytes = [0; 8];
            self.reader.read_exact(&mut bytes)?;
            u64::from_be_bytes(bytes)
        };
        assert!(length < 1 << 30, "a frame of {length} bytes");
        let mut body = vec![0; usize::try_from(length).unwrap()];
        self.reader.read_exact(&mut body)?;
        Ok((flags, body))
    }
}
