//! Steps of a copy that a peer sends in any order and with any text: no panic; what is decoded is what the text stands
//! for; the destination is whole or not there; and after the end nothing is left in the cache.
//!
//! The first octet of each step chooses it, the second its length; the rest is the base64 text of a chunk as it is.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use stheno::edge::copy::sink::{Sink, decode};
use stheno::model::copy::{Attributes, CopyKind, DigestKind, SinkDone, SinkSpec, SinkStep};
use stheno::model::token::Token;

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        base.join(format!("stheno-fuzz-{}", std::process::id()))
    })
}

fn spec(kind: CopyKind) -> SinkSpec {
    SinkSpec {
        token: Token::parse("fuzz").unwrap(),
        cache_dir: Some(folder().join("cache")),
        destination: folder().join("there/file"),
        kind,
        roots: Arc::new([]),
        is_passed_on: false,
        max_ratio: 0,
    }
}

fuzz_target!(|input: &[u8]| {
    let _none = fs::remove_dir_all(folder());
    fs::create_dir_all(folder().join("cache")).unwrap();
    fs::create_dir_all(folder().join("there")).unwrap();
    let mut sink = Sink::default();
    let mut expected: Vec<u8> = Vec::new();
    let mut rest = input;
    let mut is_kept = false;
    while let [choice, len, after @ ..] = rest {
        let (text, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        let json = format!("\"{}\"", String::from_utf8_lossy(text));
        let decoded = decode(&json);
        if let Some(bytes) = &decoded
            && !json.contains('\\')
        {
            assert_eq!(format!("\"{}\"", STANDARD.encode(bytes)), json);
        }
        let offset = match choice % 4 {
            0 => None,
            1 => Some(expected.len() as u64),
            2 => Some(0),
            _ => Some(u64::from(*choice)),
        };
        let step = match choice / 64 {
            0 | 1 => SinkStep::Chunk {
                spec: spec(CopyKind::Regular),
                base64: 0..json.len(),
                json,
                size: usize::from(*choice),
                offset,
            },
            2 => SinkStep::Query {
                spec: spec(CopyKind::Regular),
                total: u64::from(*choice),
                md5: None,
                attributes: Attributes::default(),
                restart: choice % 2 == 0,
                identity: (choice % 3 == 0).then(|| "the same".to_owned()),
                digest: DigestKind::Sha256,
            },
            _ if choice % 2 == 0 => SinkStep::Keep,
            _ => SinkStep::Discard,
        };
        let is_query = matches!(step, SinkStep::Query { .. });
        let is_keep = step == SinkStep::Keep;
        // A chunk with its place begins a file anew where none is open.
        if is_kept && matches!(step, SinkStep::Chunk { offset: Some(_), .. }) {
            expected.clear();
        }
        is_kept = is_keep || is_kept && step == SinkStep::Discard;
        match sink.run(step) {
            SinkDone::Written(received) => {
                let mut bytes = decoded.unwrap_or_default();
                bytes.truncate(usize::from(*choice));
                expected.extend_from_slice(&bytes);
                assert_eq!(received, expected.len() as u64);
            }
            SinkDone::Repeated(received) => assert_eq!(received, expected.len() as u64),
            SinkDone::Found { received, .. } => {
                assert!(is_query && (received == 0 || received == expected.len() as u64));
                expected.truncate(usize::try_from(received).unwrap());
            }
            SinkDone::Discarded if is_kept => {}
            SinkDone::Failed(_) | SinkDone::Discarded => {
                expected.clear();
                assert!(!folder().join("cache/copy_fuzz").exists());
            }
            SinkDone::Unchanged(_) | SinkDone::Finished(_) | SinkDone::Gathered => unreachable!("nothing was ended"),
        }
        let there = fs::read(folder().join("cache/copy_fuzz")).unwrap_or_default();
        assert!(there == expected);
    }
    let wrong = SinkStep::End {
        spec: spec(CopyKind::Regular),
        md5: "00000000000000000000000000000000".to_owned(),
        attributes: Attributes::default(),
    };
    assert!(matches!(sink.run(wrong), SinkDone::Failed(_)));
    assert_eq!(fs::read_dir(folder().join("cache")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder().join("there")).unwrap().count(), 0);
});
