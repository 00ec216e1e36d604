//! A connection to a MySQL or MariaDB server: login and text queries (MySQL client/server protocol, protocol version
//! 10).

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::time::Instant;

use super::auth;
use super::packet::{Greeting, Malformed, Reader, is_end, read_error};
use super::stream::Stream;
use crate::config::database::{DatabaseSettings, DatabaseTls};
use crate::edge::tls;
use crate::model::text::quoted;

/// The reason why a connection failed.
#[derive(Debug)]
pub(in crate::edge) enum Fault {
    /// The connection failed or took too long.
    Io(io::Error),
    /// The server reported an error: its number and text.
    Server(u16, String),
    /// The server needs something that this client does not support, or is no MySQL server; as a sentence.
    Other(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Other(
            "the program that answers there is not a supported MySQL or MariaDB server; check the port".to_owned(),
        )
    }
}

const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
/// The capabilities LONG_PASSWORD and TRANSACTIONS.
const ALWAYS: u32 = 1 | 1 << 13;
/// `utf8mb4_general_ci`: texts are returned as UTF-8, whatever character set the tables use.
const CHARSET: u8 = 45;
/// Maximum size in bytes of a packet. No answer to the queries used here is larger.
const PACKET_MAX: usize = 4 << 20;
/// Maximum number of rows of a result, more than a platform has nodes and relations.
const ROWS_MAX: usize = 200_000;

/// A row of a result; `None` is NULL.
pub(in crate::edge) type Row = Vec<Option<String>>;

/// An authenticated connection.
pub(in crate::edge) struct Client {
    stream: BufReader<Stream>,
    sequence: u8,
    /// The server's number of this connection.
    number: u32,
}

impl Client {
    /// Logs in on a new connection to `host`.
    pub(in crate::edge) fn login(stream: Stream, settings: &DatabaseSettings, host: &str) -> Result<Self, Fault> {
        let mut client = Self { stream: BufReader::with_capacity(16 << 10, stream), sequence: 0, number: 0 };
        let packet = client.read_packet()?;
        if packet.first() == Some(&0xff) {
            let (code, text) = read_error(&packet)?;
            return Err(Fault::Server(code, text));
        }
        let greeting = Greeting::read(&packet)?;
        client.number = greeting.connection;
        if greeting.capabilities & (PROTOCOL_41 | SECURE_CONNECTION) != PROTOCOL_41 | SECURE_CONNECTION {
            return Err(Fault::Other("the server is too old: MySQL 5.5 or MariaDB 5.5 is needed".to_owned()));
        }
        let mut capabilities = ALWAYS | CONNECT_WITH_DB | PROTOCOL_41 | SECURE_CONNECTION;
        capabilities |= greeting.capabilities & PLUGIN_AUTH;
        if let Some(tls) = &settings.tls
            && client.stream.get_ref().is_plain_tcp()
        {
            capabilities |= client.start_tls(tls, &greeting, capabilities, host)?;
        }
        client.authenticate(settings, &greeting, capabilities)?;
        Ok(client)
    }

    /// Requests and begins TLS; returns its capability flag, or 0 if the server has no TLS and it is optional.
    fn start_tls(
        &mut self,
        tls: &DatabaseTls,
        greeting: &Greeting,
        capabilities: u32,
        host: &str,
    ) -> Result<u32, Fault> {
        if greeting.capabilities & SSL == 0 {
            if tls.optional {
                return Ok(0);
            }
            let text = "the server offers no TLS: configure it there, or remove 'mysql_ssl=1' from the dsn";
            return Err(Fault::Other(text.to_owned()));
        }
        let session = tls::database::session(tls, host).map_err(|error| Fault::Other(error.to_string()))?;
        self.write_packet(&head(capabilities | SSL))?;
        if !self.stream.buffer().is_empty() {
            return Err(Malformed.into());
        }
        self.stream.get_mut().start_tls(session);
        Ok(SSL)
    }

    fn authenticate(
        &mut self,
        settings: &DatabaseSettings,
        greeting: &Greeting,
        capabilities: u32,
    ) -> Result<(), Fault> {
        let password = settings.password.reveal();
        // If the server prefers another plugin, it requests it by name after this.
        let known = ["mysql_native_password", "caching_sha2_password"];
        let plugin = known.into_iter().find(|known| *known == greeting.plugin).unwrap_or("mysql_native_password");
        let answer = auth::answer(plugin, password, &greeting.nonce).unwrap_or_default();
        let mut packet = head(capabilities);
        packet.extend_from_slice(settings.username.as_bytes());
        packet.push(0);
        packet.push(u8::try_from(answer.len()).unwrap_or(0));
        packet.extend_from_slice(&answer);
        packet.extend_from_slice(settings.database.as_bytes());
        packet.push(0);
        packet.extend_from_slice(plugin.as_bytes());
        packet.push(0);
        self.write_packet(&packet)?;
        // A login needs only a few steps.
        for _ in 0..8 {
            let packet = self.read_packet()?;
            let mut reader = Reader(&packet);
            match reader.byte()? {
                0x00 => return Ok(()),
                0xff => {
                    let (code, text) = read_error(&packet)?;
                    return Err(Fault::Server(code, text));
                }
                0xfe => {
                    let plugin = String::from_utf8_lossy(reader.zero_ended()).into_owned();
                    let Some(answer) = auth::answer(&plugin, password, reader.0) else {
                        return Err(unknown_plugin(&plugin, &greeting.version));
                    };
                    self.write_packet(&answer)?;
                }
                // caching_sha2_password: 3 means that the answer was correct, 4 requests the password itself.
                0x01 => match reader.byte()? {
                    3 => {}
                    4 => self.send_password(password)?,
                    _ => return Err(Malformed.into()),
                },
                _ => return Err(Malformed.into()),
            }
        }
        Err(Malformed.into())
    }

    fn send_password(&mut self, password: &str) -> Result<(), Fault> {
        if !self.stream.get_ref().is_private() {
            let text = "the server wants to see the password itself (caching_sha2_password), which needs \
                'mysql_ssl=1' or \
                        'mysql_socket' in the dsn";
            return Err(Fault::Other(text.to_owned()));
        }
        let mut packet = password.as_bytes().to_vec();
        packet.push(0);
        self.write_packet(&packet)
    }

    /// The server's number of this connection, which `KILL` takes.
    pub(in crate::edge) const fn number(&self) -> u32 {
        self.number
    }

    /// Sets when everything on this connection must have ended; each step still has its own limit.
    pub(in crate::edge) fn set_deadline(&mut self, deadline: Instant) {
        self.stream.get_mut().set_deadline(deadline);
    }

    /// Runs a query; returns the names of the columns, and the rows.
    pub(in crate::edge) fn query(&mut self, sql: &str) -> Result<(Vec<String>, Vec<Row>), Fault> {
        let mut rows = Vec::new();
        let columns = self.query_each(sql, |row| {
            rows.push(row);
            rows.len() <= ROWS_MAX
        })?;
        if rows.len() > ROWS_MAX {
            return Err(Fault::Other(format!("a table has more than {ROWS_MAX} rows")));
        }
        Ok((columns, rows))
    }

    /// Runs a query and hands over each row, until `take` returns `false`; further rows are read and dropped. Returns
    /// the names of the columns.
    pub(in crate::edge) fn query_each(
        &mut self,
        sql: &str,
        mut take: impl FnMut(Row) -> bool,
    ) -> Result<Vec<String>, Fault> {
        self.send(sql)?;
        self.flush()?;
        let first = self.read_answer()?;
        if first.first() == Some(&0) {
            return Ok(Vec::new());
        }
        let count = Reader(&first).length()?;
        if count > 4_096 {
            return Err(Malformed.into());
        }
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            let packet = self.read_answer()?;
            let mut reader = Reader(&packet);
            // Catalog, schema, table and original table precede the name.
            for _ in 0..4 {
                reader.text()?;
            }
            columns.push(reader.text()?.unwrap_or_default());
        }
        if !is_end(&self.read_answer()?) {
            return Err(Malformed.into());
        }
        let mut wants_more = true;
        loop {
            let packet = self.read_answer()?;
            if is_end(&packet) {
                return Ok(columns);
            }
            if wants_more {
                let mut reader = Reader(&packet);
                wants_more = take((0..count).map(|_| reader.text()).collect::<Result<Row, Malformed>>()?);
            }
        }
    }

    /// Runs statements that return no rows, one after the other, without waiting between them; returns the number of
    /// rows that each affected. All are run, also those after one that failed, so they belong into a transaction that
    /// is committed afterwards. The caller bounds their number: their answers must fit into the socket's buffer.
    ///
    /// # Errors
    /// The first fault.
    pub(in crate::edge) fn execute_all<'a>(
        &mut self,
        statements: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<u64>, Fault> {
        let mut count = 0;
        for statement in statements {
            self.send(statement)?;
            count += 1;
        }
        self.flush()?;
        let (mut affected, mut first_fault) = (Vec::with_capacity(count), None);
        for _ in 0..count {
            self.sequence = 1;
            match self.read_answer().and_then(|packet| affected_rows(&packet)) {
                Ok(rows) => affected.push(rows),
                Err(fault @ Fault::Server(..)) => first_fault = first_fault.or(Some(fault)),
                Err(fault) => return Err(first_fault.unwrap_or(fault)),
            }
        }
        first_fault.map_or(Ok(affected), Err)
    }

    /// Writes a query without waiting for its answer.
    fn send(&mut self, sql: &str) -> Result<(), Fault> {
        self.sequence = 0;
        let mut packet = Vec::with_capacity(sql.len() + 1);
        packet.push(3);
        packet.extend_from_slice(sql.as_bytes());
        self.put_packet(&packet)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        Ok(self.stream.get_mut().flush()?)
    }

    /// Sends QUIT; the server then closes the connection.
    pub(in crate::edge) fn quit(mut self) {
        self.sequence = 0;
        // If this fails, the server notices the closed connection.
        let _ = self.write_packet(&[1]);
    }

    fn read_answer(&mut self) -> Result<Vec<u8>, Fault> {
        let packet = self.read_packet()?;
        if packet.first() == Some(&0xff) {
            let (code, text) = read_error(&packet)?;
            return Err(Fault::Server(code, text));
        }
        Ok(packet)
    }

    fn read_packet(&mut self) -> Result<Vec<u8>, Fault> {
        if self.stream.fill_buf()?.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut head = [0; 4];
        self.stream.read_exact(&mut head)?;
        let [low, middle, high, sequence] = head;
        let len = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        if sequence != self.sequence || len > PACKET_MAX {
            return Err(Malformed.into());
        }
        self.sequence = sequence.wrapping_add(1);
        let mut packet = vec![0; len];
        self.stream.read_exact(&mut packet)?;
        Ok(packet)
    }

    fn write_packet(&mut self, payload: &[u8]) -> Result<(), Fault> {
        self.put_packet(payload)?;
        self.flush()
    }

    fn put_packet(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let len = u32::try_from(payload.len()).ok().filter(|len| *len < 1 << 24).ok_or(Malformed)?;
        let [low, middle, high, _] = len.to_le_bytes();
        let mut packet = vec![low, middle, high, self.sequence];
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.get_mut().write_all(&packet)?;
        Ok(())
    }
}

/// Reads how many rows a statement affected.
fn affected_rows(packet: &[u8]) -> Result<u64, Fault> {
    let mut reader = Reader(packet);
    if reader.byte()? != 0 {
        return Err(Malformed.into());
    }
    Ok(u64::try_from(reader.length()?).unwrap_or(u64::MAX))
}

/// The first 32 bytes of a login, which are also the complete request for TLS.
fn head(capabilities: u32) -> Vec<u8> {
    let mut packet = capabilities.to_le_bytes().to_vec();
    packet.extend_from_slice(&u32::try_from(PACKET_MAX).unwrap_or(u32::MAX).to_le_bytes());
    packet.push(CHARSET);
    packet.extend_from_slice(&[0; 23]);
    packet
}

/// Describes an unsupported plugin. The alternative to suggest depends on the server's version: MySQL 9 has no
/// mysql_native_password, MariaDB no caching_sha2_password.
fn unknown_plugin(plugin: &str, version: &str) -> Fault {
    let plugin = quoted(plugin);
    let major = version.split('.').next().and_then(|number| number.parse::<u32>().ok()).unwrap_or_default();
    let instead = if version.to_ascii_lowercase().contains("mariadb") {
        "ed25519 or mysql_native_password"
    } else if major >= 9 {
        "caching_sha2_password"
    } else {
        "caching_sha2_password or mysql_native_password"
    };
    Fault::Other(format!("the user logs in with {plugin}, which is not supported: give it {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_about_a_plugin_fits_the_version_of_the_server() {
        for (version, advice) in [
            ("9.1.0", "give it caching_sha2_password"),
            ("8.4.2", "give it caching_sha2_password or mysql_native_password"),
            ("5.5.5-10.11.6-MariaDB-0+deb12u1", "give it ed25519 or mysql_native_password"),
            ("11.8.2-MariaDB", "give it ed25519 or mysql_native_password"),
        ] {
            let Fault::Other(text) = unknown_plugin("parsec", version) else { panic!("{version}") };
            assert!(text.ends_with(advice), "{version}: {text}");
        }
    }
}
