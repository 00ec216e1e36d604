//! Chunks of copies inside a TLS link: the bytes as they are, without base64. The message that comes out is the one
//! that went in, octet by octet, so nobody else knows of it.
//!
//! The body of such a frame has the lengths of the texts before and behind the base64 text, as big-endian numbers of 4
//! octets, these texts, and the bytes.

use crate::model::base64_text;

/// The beginning of a message with a chunk.
const ACTION: &[u8] = b"[PROCESSCOPY]";
/// What is before the base64 text.
const MEMBER: &[u8] = b"\"data\":\"";
/// Length of the texts around it within which its ends are looked for.
const AROUND_MAX: usize = 16 << 10;
/// Length of a message from which on the effort is worth it.
const WORTH: usize = 1 << 10;
/// Length of the numbers before the texts.
const NUMBERS: usize = 8;

/// Appends the body of a frame for an envelope in parts; `false` (and nothing is appended) if it holds no chunk.
pub(super) fn encode(parts: &[&[u8]], body: &mut Vec<u8>) -> bool {
    let [fields, data, rest @ ..] = parts else { return false };
    let Some((start, end)) = base64_of(fields, data) else { return false };
    let (Some(before), Some(text), Some(behind)) = (data.get(..start), data.get(start..end), data.get(end..)) else {
        return false;
    };
    let head_len = fields.len().saturating_add(before.len());
    let tail_len = rest.iter().map(|part| part.len()).sum::<usize>().saturating_add(behind.len());
    let (Ok(head), Ok(tail)) = (u32::try_from(head_len), u32::try_from(tail_len)) else { return false };
    let begin = body.len();
    for part in [head.to_be_bytes().as_slice(), tail.to_be_bytes().as_slice(), fields, before, behind] {
        body.extend_from_slice(part);
    }
    rest.iter().for_each(|part| body.extend_from_slice(part));
    // Only the one text that these bytes have is decoded.
    let is_base64 = base64_text::decode_onto(text, body);
    if !is_base64 {
        body.truncate(begin);
    }
    is_base64
}

/// Where the base64 text of a chunk is in the data of a message.
fn base64_of(fields: &[u8], data: &[u8]) -> Option<(usize, usize)> {
    if data.len() < WORTH || !fields.starts_with(ACTION) {
        return None;
    }
    let window = data.get(..AROUND_MAX.min(data.len()))?;
    let start = window.windows(MEMBER.len()).position(|bytes| bytes == MEMBER)? + MEMBER.len();
    let from = start.max(data.len().saturating_sub(AROUND_MAX));
    let end = from + data.get(from..)?.iter().position(|byte| *byte == b'"')?;
    Some((start, end))
}

/// The text of the envelope from the body of a frame; `None` if the lengths in it are wrong.
pub(super) fn decode(body: &[u8]) -> Option<Vec<u8>> {
    let (numbers, rest) = body.split_first_chunk::<NUMBERS>()?;
    let [head, tail] = u64_halves(*numbers);
    let (head, rest) = rest.split_at_checked(head)?;
    let (tail, bytes) = rest.split_at_checked(tail)?;
    let mut text = Vec::with_capacity(head.len() + tail.len() + base64_text::encoded_len(bytes.len()));
    text.extend_from_slice(head);
    base64_text::push(bytes, &mut text);
    text.extend_from_slice(tail);
    Some(text)
}

fn u64_halves(numbers: [u8; NUMBERS]) -> [usize; 2] {
    let both = u64::from_be_bytes(numbers);
    [both >> 32, both & 0xffff_ffff].map(|half| usize::try_from(half).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(bytes: &[u8]) -> String {
        let mut text = "{\"content\":{\"chunk\":{\"data\":\"".to_owned();
        base64_text::push(bytes, &mut text);
        text + "\",\"size\":9},\"destination\":\"/x \\\"y\"}}"
    }

    #[test]
    fn a_message_with_a_chunk_comes_out_as_it_went_in_and_is_shorter_on_the_way() {
        for len in [1_000, 1_001, 1_002, 130_000] {
            let (fields, data) = (&b"[PROCESSCOPY] [t] [2] "[..], text_of(&vec![0xa7; len]));
            let mut body = Vec::new();
            assert!(encode(&[fields, data.as_bytes(), b""], &mut body), "{len}");
            assert!(body.len() < len + 200);
            assert_eq!(decode(&body).unwrap(), [fields, data.as_bytes()].concat());
        }
    }

    #[test]
    fn any_other_message_stays_as_it_is() {
        let long = text_of(&[1; 3_000]);
        let broken = long.replacen("AQEB", "AQ=B", 1);
        let wrapped = long.replacen("AQEB", "AQ\\nEB", 1);
        let none = format!("{{\"x\":\"{}\"}}", "y".repeat(3_000));
        for (fields, data) in [
            ("[COMMAND] [t] [] ", long.as_str()),
            ("[PROCESSCOPY] [t] [] ", &text_of(&[1; 9])),
            ("[PROCESSCOPY] [t] [] ", &broken),
            ("[PROCESSCOPY] [t] [] ", &wrapped),
            ("[PROCESSCOPY] [t] [] ", &none),
        ] {
            let mut body = vec![7];
            assert!(!encode(&[fields.as_bytes(), data.as_bytes(), b""], &mut body), "{fields}");
            assert_eq!(body, [7]);
        }
    }

    #[test]
    fn a_body_with_wrong_lengths_is_refused() {
        let mut body = Vec::new();
        encode(&[b"[PROCESSCOPY] [t] [] ", text_of(&[1; 2_000]).as_bytes(), b""], &mut body);
        for (at, value) in [(0, 0x80), (2, 0xff), (4, 1), (6, 0xff)] {
            let mut wrong = body.clone();
            wrong[at] = value;
            assert_eq!(decode(&wrong), None, "{at}");
        }
        assert_eq!(decode(&body[..7]), None);
    }
}
