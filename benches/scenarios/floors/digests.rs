//! The time for the digest and the base64 text of a copy, with only the crates that compute them.

use std::hint::black_box;
use std::time::Instant;

use base64_simd::STANDARD;
use md5::{Digest as _, Md5};

use crate::Outcome;
use crate::load::float;

const CHUNK_BYTES: usize = 150_000;
const CHUNKS: usize = 2_000;

/// MB/s of MD5 followed by base64 of the same chunks on one processor.
///
/// # Errors
/// None; the type is that of all floors.
pub fn megabytes_per_second() -> Outcome<f64> {
    let chunk: Vec<u8> = (0..CHUNK_BYTES).map(|place| (place % 251) as u8).collect();
    let mut text = String::new();
    let mut digest = Md5::new();
    let begun = Instant::now();
    for _ in 0..CHUNKS {
        digest.update(black_box(&chunk));
        text.clear();
        STANDARD.encode_append(black_box(&chunk), &mut text);
        black_box(&text);
    }
    black_box(digest.finalize());
    Ok(float(CHUNK_BYTES * CHUNKS) / 1e6 / begun.elapsed().as_secs_f64())
}
