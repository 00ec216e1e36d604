//! The number by which a platform knows a node.

use std::fmt;
use std::str::FromStr;

/// A node's id: a whole number from 1 to 2^53-1 (so that every JSON reader keeps it exact).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

/// What is wrong with a node id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidNodeId;

impl fmt::Display for InvalidNodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a node id is a whole number from 1 to 9007199254740991")
    }
}

impl NodeId {
    /// Checks a number.
    ///
    /// # Errors
    /// [`InvalidNodeId`] when it is 0 or above 2^53-1.
    pub const fn new(number: u64) -> Result<Self, InvalidNodeId> {
        if number == 0 || number >= 1 << 53 { Err(InvalidNodeId) } else { Ok(Self(number)) }
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
            serde_json::json!("9007199254740992"),
            serde_json::json!(null),
        ] {
            assert_eq!(NodeId::from_json(&bad), Err(InvalidNodeId), "{bad}");
        }
    }
}
