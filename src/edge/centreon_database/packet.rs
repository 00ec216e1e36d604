//! Decodes values in packets of the MySQL client/server protocol. It uses no socket.

/// The packet does not follow the protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The unread rest of a packet.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the next `len` bytes.
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.bytes(1)?.first().copied().ok_or(Malformed)
    }

    /// Reads a little-endian number of at most 8 bytes.
    pub(super) fn number(&mut self, len: usize) -> Result<u64, Malformed> {
        Ok(self.bytes(len)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Reads the bytes up to a zero, which is skipped; without a zero, the rest.
    pub(super) fn zero_ended(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let (head, rest) = self.0.split_at_checked(end).unwrap_or((self.0, &[]));
        self.0 = rest.get(1..).unwrap_or_default();
        head
    }

    /// Reads a length-encoded number.
    pub(super) fn length(&mut self) -> Result<usize, Malformed> {
        let number = match self.byte()? {
            small @ 0..=0xfa => u64::from(small),
            0xfc => self.number(2)?,
            0xfd => self.number(3)?,
            0xfe => self.number(8)?,
            _ => return Err(Malformed),
        };
        usize::try_from(number).map_err(|_| Malformed)
    }

    /// Reads a length-encoded text; `None` for NULL.
    pub(super) fn text(&mut self) -> Result<Option<String>, Malformed> {
        if self.0.first() == Some(&0xfb) {
            self.byte()?;
            return Ok(None);
        }
        let len = self.length()?;
        Ok(Some(String::from_utf8_lossy(self.bytes(len)?).into_owned()))
    }
}

/// The greeting of a server (protocol version 10).
pub(super) struct Greeting {
    pub(super) capabilities: u32,
    /// The server's number of the connection.
    pub(super) connection: u32,
    /// Random bytes for the preferred plugin.
    pub(super) nonce: Vec<u8>,
    /// Name of the plugin that the server prefers.
    pub(super) plugin: String,
    /// The server's version, for instance `8.0.36` or `10.11.6-MariaDB`.
    pub(super) version: String,
}

impl Greeting {
    pub(super) fn read(packet: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(packet);
        if reader.byte()? != 10 {
            return Err(Malformed);
        }
        let version = String::from_utf8_lossy(reader.zero_ended()).chars().take(80).collect();
        let connection = u32::try_from(reader.number(4)?).map_err(|_| Malformed)?;
        let mut nonce = reader.bytes(8)?.to_vec();
        reader.bytes(1)?;
        let low = reader.number(2)?;
        reader.bytes(3)?;
        let high = reader.number(2)?;
        let nonce_len = usize::from(reader.byte()?);
        reader.bytes(10)?;
        let rest = reader.bytes(nonce_len.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(rest.strip_suffix(&[0]).unwrap_or(rest));
        let plugin = String::from_utf8_lossy(reader.zero_ended()).into_owned();
        let capabilities = u32::try_from(high << 16 | low).map_err(|_| Malformed)?;
        Ok(Self { capabilities, connection, nonce, plugin, version })
    }
}

/// Reads an error of the server: its number and text.
pub(super) fn read_error(packet: &[u8]) -> Result<(u16, String), Malformed> {
    let mut reader = Reader(packet);
    reader.byte()?;
    let code = u16::try_from(reader.number(2)?).map_err(|_| Malformed)?;
    if reader.0.first() == Some(&b'#') {
        reader.bytes(6)?;
    }
    Ok((code, String::from_utf8_lossy(reader.0).chars().take(300).collect()))
}

/// Whether a packet marks the end of the columns or rows.
pub(super) fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_four_sizes_and_a_cut_packet_is_noticed() {
        for (bytes, length) in [
            (&[0xfa][..], 250),
            (&[0xfc, 0xfb, 0][..], 251),
            (&[0xfd, 1, 0, 1][..], 65_537),
            (&[0xfe, 1, 0, 0, 0, 1, 0, 0, 0][..], 4_294_967_297),
        ] {
            assert_eq!(Reader(bytes).length(), Ok(length));
            for cut in 0..bytes.len() {
                assert_eq!(Reader(&bytes[..cut]).length(), Err(Malformed));
            }
        }
        assert_eq!(Reader(&[0xff]).length(), Err(Malformed));
        assert_eq!(Reader(&[0xfb]).text(), Ok(None));
        assert_eq!(Reader(&[3, b'a', b'b']).text(), Err(Malformed));
        assert_eq!(Reader(&[2, 0xc3, 0xa9]).text(), Ok(Some("é".to_owned())));
    }

    #[test]
    fn a_greeting_is_read_whole_and_not_at_all_when_it_is_cut() {
        let mut packet = vec![10];
        packet.extend_from_slice(b"10.11.14-MariaDB\0\x07\0\0\0ABCDEFGH\0\xfe\xf7\x2d\x02\0\xff\x81\x15");
        packet.extend_from_slice(&[0; 10]);
        packet.extend_from_slice(b"IJKLMNOPQRST\0mysql_native_password\0");
        let greeting = Greeting::read(&packet).ok().unwrap();
        assert_eq!((greeting.capabilities, greeting.plugin.as_str()), (0x81ff_f7fe, "mysql_native_password"));
        assert_eq!(greeting.nonce, b"ABCDEFGHIJKLMNOPQRST");
        for cut in 0..packet.len() - 22 {
            assert!(Greeting::read(&packet[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn an_error_comes_with_and_without_a_state() {
        assert_eq!(read_error(b"\xff\x15\x04#28000Access denied"), Ok((1045, "Access denied".to_owned())));
        assert_eq!(read_error(b"\xff\x10\x04Too many connections"), Ok((1040, "Too many connections".to_owned())));
        assert_eq!(read_error(b"\xff\x15"), Err(Malformed));
    }
}
