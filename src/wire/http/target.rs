//! Request targets (RFC 9112 section 3.2): path segments and query parameters as text.

use super::error::HttpError;
use crate::model::text;

/// A percent-decoded target. Segments are data: `..` and NUL stay as they are, and code that uses them as names checks
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Path segments without the empty ones.
    pub path: Vec<String>,
    /// Query parameters in order. One without `=` has an empty value.
    pub query: Vec<(String, String)>,
}

impl Target {
    /// Reads origin form (`/path?query`), absolute form (`http://host/path?query`, whose host is ignored) or `*`.
    ///
    /// # Errors
    /// [`HttpError::BadTarget`] for another form, a fragment, a byte outside ASCII or an invalid percent-encoding.
    pub fn parse(raw: &str) -> Result<Self, HttpError> {
        if raw == "*" {
            return Ok(Self::default());
        }
        if !raw.is_ascii() || raw.contains('#') {
            return Err(HttpError::BadTarget);
        }
        let local = if raw.starts_with('/') { raw } else { without_authority(raw)? };
        let (path, query) = local.split_once('?').unwrap_or((local, ""));
        let path = path.split('/').filter(|part| !part.is_empty());
        let query = query.split('&').filter(|part| !part.is_empty());
        Ok(Self {
            path: path.map(|part| decode(part, false)).collect::<Result<_, _>>()?,
            query: query.map(decode_parameter).collect::<Result<_, _>>()?,
        })
    }
}

/// The rest of an absolute form after scheme and host.
fn without_authority(raw: &str) -> Result<&str, HttpError> {
    let (scheme, rest) = raw.split_once("://").ok_or(HttpError::BadTarget)?;
    let authority_len = rest.find(['/', '?']).unwrap_or(rest.len());
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if !known || authority_len == 0 {
        return Err(HttpError::BadTarget);
    }
    Ok(rest.get(authority_len..).unwrap_or_default())
}

fn decode_parameter(part: &str) -> Result<(String, String), HttpError> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    Ok((decode(name, true)?, decode(value, true)?))
}

/// Decodes percent-encoding, and `+` as a space in form data. Bytes that are not UTF-8 are read as Latin-1
/// (docs/protocol.md section 1).
fn decode(part: &str, is_form: bool) -> Result<String, HttpError> {
    if !part.bytes().any(|byte| byte == b'%' || (is_form && byte == b'+')) {
        return Ok(part.to_owned());
    }
    let mut decoded = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let Some(([high, low], tail)) = rest.split_first_chunk::<2>() else { return Err(HttpError::BadTarget) };
                decoded.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                rest = tail;
            }
            b'+' if is_form => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    Ok(text::from_bytes(&decoded).into_owned())
}

fn hex_digit(byte: u8) -> Result<u8, HttpError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(HttpError::BadTarget),
    }
}

#[cfg(test)]
mod tests {
    use super::{HttpError, Target};

    fn target(path: &[&str], query: &[(&str, &str)]) -> Result<Target, HttpError> {
        Ok(Target {
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        })
    }

    #[test]
    fn paths_and_queries_are_decoded_part_by_part() {
        assert_eq!(Target::parse("/api/nodes/2/log/a:b"), target(&["api", "nodes", "2", "log", "a:b"], &[]));
        assert_eq!(Target::parse("//api//x/"), target(&["api", "x"], &[]));
        assert_eq!(Target::parse("/a%2Fb/%2e%2e/%00?x=%3d&y"), target(&["a/b", "..", "\0"], &[("x", "="), ("y", "")]));
        assert_eq!(Target::parse("/a+b?c+d=e+f%2B&&=g"), target(&["a+b"], &[("c d", "e f+"), ("", "g")]));
        assert_eq!(Target::parse("/%E2%82%AC/%e9"), target(&["€", "é"], &[]));
        assert_eq!(Target::parse("/x?a=b?c/d"), target(&["x"], &[("a", "b?c/d")]));
    }

    #[test]
    fn an_absolute_form_counts_from_its_path() {
        assert_eq!(Target::parse("HTTP://user@host:80/api?x=1"), target(&["api"], &[("x", "1")]));
        assert_eq!(Target::parse("http://host"), target(&[], &[]));
        assert_eq!(Target::parse("http://host?x"), target(&[], &[("x", "")]));
        assert_eq!(Target::parse("*"), target(&[], &[]));
    }

    #[test]
    fn other_forms_and_broken_encodings_are_refused() {
        for bad in
            ["api", "host:443", "http:///x", "ftp://host/x", "/%", "/%4", "/%zz", "/%+1", "/x?%=1", "/x#y", "/é", ""]
        {
            assert_eq!(Target::parse(bad), Err(HttpError::BadTarget), "{bad}");
        }
    }
}
