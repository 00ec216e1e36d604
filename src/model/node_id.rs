//! The number by which a platform knows a node.

use std::fmt;
use std::str::FromStr;

/// A node's id or uid: a whole number from 1 to 2^64-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

/// What is wrong with a node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidNodeId;

impl fmt::Display for InvalidNodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a node id is {ALLOWED}")
    }
}

/// What a node id may be, for messages.
pub const ALLOWED: &str = "a whole number from 1 to 18446744073709551615";
/// The largest number that every reader of JSON keeps exact.
const JSON_EXACT_MAX: u64 = (1 << 53) - 1;

impl NodeId {
    /// Checks a number.
    ///
    /// # Errors
    /// [`InvalidNodeId`] when it is 0.
    pub const fn new(number: u64) -> Result<Self, InvalidNodeId> {
        if number == 0 { Err(InvalidNodeId) } else { Ok(Self(number)) }
    }

    /// The id as JSON: a number, or a string where a reader of JSON could round the number.
    #[must_use]
    pub fn to_json(self) -> serde_json::Value {
        if self.0 > JSON_EXACT_MAX { self.0.to_string().into() } else { self.0.into() }
    }

    #[must_use]
    pub const fn json_text(self) -> JsonText {
        JsonText(self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Reads an id from JSON, where peers write it as a number or as a string.
    ///
    /// # Errors
    /// [`InvalidNodeId`] for anything else.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, InvalidNodeId> {
        match value {
            serde_json::Value::Number(number) => Self::new(number.as_u64().ok_or(InvalidNodeId)?),
            serde_json::Value::String(text) => text.parse(),
            _ => Err(InvalidNodeId),
        }
    }
}

/// A node's id as it stands in JSON.
#[derive(Clone, Copy, Debug)]
pub struct JsonText(NodeId);

impl fmt::Display for JsonText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.0 > JSON_EXACT_MAX { write!(formatter, "\"{}\"", self.0) } else { self.0.fmt(formatter) }
    }
}

impl FromStr for NodeId {
    type Err = InvalidNodeId;

    fn from_str(text: &str) -> Result<Self, InvalidNodeId> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            return Err(InvalidNodeId);
        }
        Self::new(text.parse().map_err(|_| InvalidNodeId)?)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_positive_number_written_as_number_or_string() {
        for good in [serde_json::json!(2), serde_json::json!("2"), serde_json::json!("002")] {
            assert_eq!(NodeId::from_json(&good).map(NodeId::get), Ok(2), "{good}");
        }
        for bad in [
            serde_json::json!(0),
            serde_json::json!(-1),
            serde_json::json!(1.5),
            serde_json::json!(""),
            serde_json::json!("+2"),
            serde_json::json!("../x"),
            serde_json::json!("18446744073709551616"),
            serde_json::json!(1.8e19),
            serde_json::json!(null),
        ] {
            assert_eq!(NodeId::from_json(&bad), Err(InvalidNodeId), "{bad}");
        }
    }

    #[test]
    fn an_id_of_64_bits_stays_exact_and_is_a_string_where_a_reader_could_round_it() {
        for (number, json) in [
            (9_007_199_254_740_991, "9007199254740991"),
            (9_007_199_254_740_992, "\"9007199254740992\""),
            (u64::MAX, "\"18446744073709551615\""),
        ] {
            let id = NodeId::new(number).unwrap();
            assert_eq!((id.to_json().to_string(), id.json_text().to_string()), (json.to_owned(), json.to_owned()));
            for text in [number.to_string(), json.to_owned()] {
                assert_eq!(NodeId::from_json(&serde_json::from_str(&text).unwrap()), Ok(id), "{text}");
            }
        }
    }
}
