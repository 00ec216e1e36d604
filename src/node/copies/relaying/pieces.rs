//! Splits a chunk that is too large for a WebSocket message. A receiver appends the pieces like any other chunks.

use serde_json::Value;

use crate::model::node_id::NodeId;

use crate::node::copies::request::{ENVELOPE_BYTES_MAX, WEB_SOCKET_BYTES_MAX};
use crate::node::json;

/// Maximum number of bytes of the data of one message.
const DATA_BYTES_MAX: usize = WEB_SOCKET_BYTES_MAX - ENVELOPE_BYTES_MAX;
/// Room for the digits that a number in a piece may have more than in the whole, and similar differences.
const SPARE_BYTES: usize = 100;

/// Returns the data of the messages that replace a message with `data`.
///
/// # Errors
/// Returns the message of the row that ends the token: the message is too large but not a chunk, or it cannot be split.
pub(super) fn split(through: NodeId, data: String) -> Result<Vec<String>, String> {
    if data.len() <= DATA_BYTES_MAX {
        return Ok(vec![data]);
    }
    let pieces = serde_json::from_str(&data).ok().and_then(|whole| pieces_of(whole, data.len()));
    pieces.ok_or_else(|| {
        format!(
            "proxy - a message of {} bytes is too large for the WebSocket of node '{through}' and cannot be split; \
                lower the buffer_size of the sender",
            data.len()
        )
    })
}

fn pieces_of(mut whole: Value, len_bytes: usize) -> Option<Vec<String>> {
    let chunk = whole.pointer_mut("/content/chunk")?;
    let text = match chunk.get_mut("data")?.take() {
        Value::String(text) => text,
        _ => return None,
    };
    // A Perl peer inserts line breaks.
    let text: String = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    if !text.is_ascii() || !text.len().is_multiple_of(4) {
        return None;
    }
    let mut offset = chunk.get("offset").and_then(json::integer);
    let around = whole.to_string().len() + SPARE_BYTES;
    let room = DATA_BYTES_MAX.checked_sub(around)? / 4 * 4;
    if room == 0 || around > len_bytes {
        return None;
    }
    let mut pieces = Vec::new();
    for piece in text.as_bytes().chunks(room) {
        let piece = std::str::from_utf8(piece).ok()?;
        let padding = piece.bytes().rev().take_while(|byte| *byte == b'=').count();
        let size = i64::try_from((piece.len() / 4 * 3).checked_sub(padding)?).ok()?;
        let chunk = whole.pointer_mut("/content/chunk")?.as_object_mut()?;
        chunk.insert("data".to_owned(), Value::from(piece));
        chunk.insert("size".to_owned(), Value::from(size));
        if let Some(at) = offset {
            chunk.insert("offset".to_owned(), Value::from(at));
            offset = at.checked_add(size);
        }
        pieces.push(whole.to_string());
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    fn message(bytes: &[u8], offset: Option<usize>) -> String {
        let text = STANDARD.encode(bytes);
        let lines: String = text.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line) + "\n").collect();
        let mut chunk = json!({ "data": lines, "size": bytes.len() });
        if let Some(offset) = offset {
            chunk["offset"] = json!(offset);
        }
        let content = json!({ "status": "inprogress", "type": "regular", "chunk": chunk, "destination": "/a" });
        json!({ "logging": null, "content": content }).to_string()
    }

    #[test]
    fn a_chunk_that_is_too_large_goes_in_pieces_that_are_the_same_bytes() {
        let bytes: Vec<u8> = (0..1_000_001_u32).map(|number| (number % 251) as u8).collect();
        for offset in [None, Some(7)] {
            let pieces = split(NodeId::new(7).unwrap(), message(&bytes, offset)).unwrap();
            assert!(pieces.len() > 4);
            let mut together = Vec::new();
            for piece in &pieces {
                assert!(piece.len() <= DATA_BYTES_MAX);
                let piece: Value = serde_json::from_str(piece).unwrap();
                let chunk = &piece["content"]["chunk"];
                assert_eq!(chunk.get("offset"), offset.map(|offset| json!(offset + together.len())).as_ref());
                let part = STANDARD.decode(chunk["data"].as_str().unwrap()).unwrap();
                assert_eq!(chunk["size"], part.len());
                assert_eq!((&piece["content"]["destination"], &piece["logging"]), (&json!("/a"), &Value::Null));
                together.extend(part);
            }
            assert!(together == bytes);
        }
    }

    #[test]
    fn what_fits_stays_as_it_is_and_what_cannot_be_split_is_named() {
        let small = message(b"text", None);
        assert_eq!(split(NodeId::new(7).unwrap(), small.clone()), Ok(vec![small]));
        let long = json!({ "content": { "status": "end", "destination": "x".repeat(300_000) } }).to_string();
        let error = split(NodeId::new(7).unwrap(), long).unwrap_err();
        assert!(error.contains("too large for the WebSocket of node '7'"), "{error}");
    }
}
