//! Texts that are packed for a thin line: deflate (RFC 1951) as base64. Only our own kind reads them.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::base64_text;

/// Shorter texts are not worth packing.
const LEN_MIN_BYTES: usize = 512;
/// Memory that is asked for at once while a text is unpacked.
const STEP_BYTES: usize = 64 << 10;

/// Packs a text; `None` if it would not be shorter.
#[must_use]
pub fn pack(text: &str) -> Option<String> {
    if text.len() < LEN_MIN_BYTES {
        return None;
    }
    // Base64 adds a third.
    let mut packed = Vec::with_capacity(text.len() * 2 / 3);
    let mut state = Compress::new(Compression::new(3), false);
    let status = state.compress_vec(text.as_bytes(), &mut packed, FlushCompress::Finish).ok()?;
    let mut encoded = String::with_capacity(base64_text::encoded_len(packed.len()));
    base64_text::push(&packed, &mut encoded);
    (status == Status::StreamEnd && encoded.len() < text.len()).then_some(encoded)
}

/// Unpacks a text of at most `max_bytes`; `None` if it is longer, or not one that [`pack`] has made.
#[must_use]
pub fn unpack(packed: &str, max_bytes: usize) -> Option<String> {
    let packed = base64_text::decode(packed.as_bytes())?;
    let (mut state, mut text) = (Decompress::new(false), Vec::new());
    loop {
        if text.len() >= max_bytes {
            return None;
        }
        text.reserve(STEP_BYTES.min(max_bytes - text.len()));
        let before = (state.total_in(), text.len());
        let rest = packed.get(usize::try_from(state.total_in()).ok()?..)?;
        let status = state.decompress_vec(rest, &mut text, FlushDecompress::None).ok()?;
        if text.len() > max_bytes {
            return None;
        }
        match status {
            Status::StreamEnd => return String::from_utf8(text).ok(),
            _ if (state.total_in(), text.len()) == before => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_text_comes_back_and_is_a_fraction_of_its_length() {
        let text: String = (0..2_000).map(|number| format!("{{\"id\":{number},\"code\":2,\"data\":\"é\"}},")).collect();
        let packed = pack(&text).unwrap();
        assert!(packed.len() * 4 < text.len(), "{} of {}", packed.len(), text.len());
        assert_eq!(unpack(&packed, text.len() + 1).as_deref(), Some(text.as_str()));
        assert_eq!(pack("short"), None);
    }

    #[test]
    fn nothing_grows_beyond_the_bound_and_what_is_damaged_is_refused() {
        let bomb = pack(&" ".repeat(50 << 20)).unwrap();
        assert!(bomb.len() < 100_000);
        assert_eq!(unpack(&bomb, 1 << 20), None);
        let packed = pack(&"text ".repeat(1_000)).unwrap();
        assert!(unpack(&packed, 1 << 20).is_some());
        for damaged in ["", "AAAA", "!", &packed[..packed.len() - 8], &packed[4..]] {
            assert_ne!(unpack(damaged, 1 << 20).as_deref(), Some("text ".repeat(1_000).as_str()), "{damaged}");
        }
    }
}
