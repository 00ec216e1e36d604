//! PROCESSCOPY messages as a Perl sender writes them, and as an attacker does (docs/protocol.md section 12).

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::platform::api::{code, data};
use crate::platform::client::Client;
use crate::platform::{Daemon, Platform, SmallDisk, seconds};

pub fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lines of 76 characters, as the encoder of Perl writes them.
pub fn perl_base64(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    text.as_bytes().chunks(76).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect()
}

struct Sender {
    client: Client,
    cache: PathBuf,
}

impl Sender {
    fn new(node: &Daemon, platform: &Platform) -> Self {
        let cache = platform.path("cache");
        fs::create_dir_all(&cache).unwrap();
        Self { client: node.client(), cache }
    }

    fn chunk(&mut self, token: &str, kind: &str, destination: &Path, bytes: &[u8], more: &Value) {
        let mut chunk = json!({ "data": perl_base64(bytes), "size": bytes.len() });
        chunk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let content = json!({
            "status": "inprogress", "type": kind, "chunk": chunk, "md5": null, "destination": destination, "cache_dir": self.cache,
        });
        let data = json!({ "logging": null, "content": content, "parameters": { "no_fork": 1 } });
        self.client.send("PROCESSCOPY", token, "", &data).unwrap();
    }

    fn end(&mut self, token: &str, kind: &str, destination: &Path, md5: &str) {
        let content = json!({
            "status": "end", "type": kind, "chunk": null, "md5": md5, "destination": destination, "cache_dir": self.cache,
            "owner": null, "group": null, "mode": null,
        });
        let data = json!({ "logging": null, "content": content, "parameters": { "no_fork": 1 } });
        self.client.send("PROCESSCOPY", token, "", &data).unwrap();
    }

    fn rows(&mut self, token: &str) -> Vec<(i64, Value)> {
        let rows = self.client.wait_for_rows(token, seconds(20));
        rows.iter().map(|row| (code(row), data(row))).collect()
    }

    /// Sends an archive and returns the code and the message of its last row.
    fn unpack(&mut self, token: &str, destination: &Path, tar: &[u8]) -> (i64, String) {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(tar).unwrap();
        let packed = gzip.finish().unwrap();
        self.chunk(token, "archive", destination, &packed, &json!({}));
        self.end(token, "archive", destination, &md5(&packed));
        let rows = self.rows(token);
        let (code, data) = rows.last().unwrap();
        (*code, data["message"].as_str().unwrap().to_owned())
    }

    fn cache_is_empty(&self) -> bool {
        fs::read_dir(&self.cache).unwrap().next().is_none()
    }
}

/// Returns one entry of a tar with any name.
fn entry(builder: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

/// Kind, name and target of an entry.
type Item<'a> = (EntryType, &'a str, &'a str);

fn tar(entries: &[Item<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, link) in entries {
        let content: &[u8] = if *kind == EntryType::Regular { b"attack" } else { b"" };
        entry(&mut builder, *kind, name, link, content);
    }
    builder.into_inner().unwrap()
}

#[test]
fn a_perl_sender_gets_a_row_for_each_chunk_and_the_file_is_there() {
    let platform = Platform::new();
    let node = Daemon::start(platform.plan("node", 2));
    let mut sender = Sender::new(&node, &platform);
    let destination = platform.path("file");
    let bytes: Vec<u8> = (0..250_000_u32).map(|number| (number % 251) as u8).collect();
    for part in bytes.chunks(100_000) {
        sender.chunk("perl", "regular", &destination, part, &json!({}));
    }
    sender.end("perl", "regular", &destination, &md5(&bytes));
    let rows = sender.rows("perl");
    let messages: Vec<_> = rows.iter().map(|(code, data)| (*code, data["message"].as_str().unwrap())).collect();
    let progress = (101, "process copy inprogress");
    assert_eq!(messages, [progress, progress, progress, (2, "process copy finished successfully")]);
    assert!(fs::read(&destination).unwrap() == bytes);
    sender.end("empty", "regular", &destination, &md5(b""));
    assert_eq!(sender.rows("empty").last().unwrap().0, 2, "an empty file comes without a chunk");
    assert_eq!(fs::read(&destination).unwrap(), b"");
    assert!(sender.cache_is_empty());
}

#[test]
fn what_does_not_fit_together_ends_with_one_row_and_leaves_nothing() {
    let platform = Platform::new();
    let node = Daemon::start(platform.plan("node", 2));
    let mut sender = Sender::new(&node, &platform);
    let destination = platform.path("file");
    sender.chunk("wrong", "regular", &destination, b"text", &json!({}));
    sender.end("wrong", "regular", &destination, &md5(b"other"));
    let rows = sender.rows("wrong");
    let last = &rows.last().unwrap().1;
    assert_eq!(last["message"], json!("md5 does not match"));
    assert!(last["detail"].as_str().unwrap().contains("/file: "), "{last}");

    sender.chunk("twice", "regular", &destination, b"text", &json!({ "offset": 0, "total": 8 }));
    sender.chunk("twice", "regular", &destination, b"text", &json!({ "offset": 0, "total": 8 }));
    sender.chunk("twice", "regular", &destination, b"more", &json!({ "offset": 4, "total": 8 }));
    sender.end("twice", "regular", &destination, &md5(b"textmore"));
    assert_eq!(sender.rows("twice").last().unwrap().0, 2);
    assert_eq!(fs::read(&destination).unwrap(), b"textmore");
    node.wait_for_log("copy twice: a chunk arrived twice", seconds(5));

    sender.chunk("gap", "regular", &destination, b"text", &json!({ "offset": 0, "total": 100 }));
    for _ in 0..3 {
        sender.chunk("gap", "regular", &destination, b"later", &json!({ "offset": 50, "total": 100 }));
    }
    let rows = sender.rows("gap");
    assert_eq!(rows.last().unwrap().1["detail"], json!("a chunk for byte 50 came where byte 4 was expected"));
    assert_eq!(rows.iter().filter(|(code, _)| *code == 1).count(), 1, "{rows:?}");

    let content = json!({
        "status": "inprogress", "type": "regular", "chunk": { "data": "!!!", "size": 3 }, "destination": destination,
        "cache_dir": sender.cache,
    });
    sender.client.send("PROCESSCOPY", "noise", "", &json!({ "content": content })).unwrap();
    assert_eq!(sender.rows("noise").last().unwrap().1["detail"], json!("a chunk is not valid base64"));
    for (token, content, expected) in [
        ("c1", json!(""), "no content"),
        ("c2", json!(null), "no content"),
        ("c3", json!({ "status": "end" }), "process copy failed: the destination is missing"),
        ("c4", json!({ "destination": "/x", "type": "regular", "status": "dance" }), "request not well formatted"),
        (
            "c5",
            json!({ "destination": "/x", "type": "pipe" }),
            "process copy failed: the type is neither regular nor archive",
        ),
    ] {
        sender.client.send("PROCESSCOPY", token, "", &json!({ "content": content })).unwrap();
        assert_eq!(sender.rows(token).last().unwrap().1["message"], json!(expected));
    }
    assert_eq!(fs::read(&destination).unwrap(), b"textmore");
    assert!(sender.cache_is_empty());
}

#[test]
fn a_cache_file_that_somebody_planted_is_not_written_through() {
    let platform = Platform::new();
    let node = Daemon::start(platform.plan("node", 2));
    let mut sender = Sender::new(&node, &platform);
    let victim = platform.write("victim", "precious");
    symlink(&victim, sender.cache.join("copy_linked")).unwrap();
    fs::hard_link(&victim, sender.cache.join("copy_hard")).unwrap();
    for token in ["linked", "hard"] {
        let destination = platform.path(token);
        sender.chunk(token, "regular", &destination, b"text", &json!({}));
        sender.end(token, "regular", &destination, &md5(b"text"));
        assert_eq!(sender.rows(token).last().unwrap().0, 2, "{token}");
        assert_eq!(fs::read_to_string(&destination).unwrap(), "text");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{token}");
    }
    assert!(sender.cache_is_empty());
}

#[test]
fn an_archive_that_leads_out_is_refused_with_the_name_and_nothing_outside_changes() {
    use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let platform = Platform::new();
    let mut node = Daemon::start(platform.plan("node", 2));
    let mut sender = Sender::new(&node, &platform);
    let outside = platform.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "precious").unwrap();
    let absolute = outside.join("secret").display().to_string();
    let attacks: [(&str, Vec<Item<'_>>); 14] = [
        ("../outside/secret", vec![(Regular, "../outside/secret", "")]),
        ("a/../../outside/x", vec![(Regular, "a/../../outside/x", "")]),
        (absolute.as_str(), vec![(Regular, &absolute, "")]),
        ("link", vec![(Symlink, "link", "../outside"), (Regular, "link/secret", "")]),
        ("link", vec![(Symlink, "link", &absolute)]),
        ("deep/link", vec![(Directory, "deep/", ""), (Symlink, "deep/link", "../../outside")]),
        ("b", vec![(Symlink, "a/s", ".."), (Symlink, "b", "a/s/../outside"), (Regular, "b/secret", "")]),
        ("t", vec![(Symlink, "t", "d/s/.."), (Directory, "d/e/", ""), (Symlink, "d/s", "..")]),
        ("hard", vec![(Link, "hard", "../outside/secret")]),
        ("hard", vec![(Link, "hard", &absolute)]),
        ("hard", vec![(Symlink, "s", "."), (Link, "hard", "s")]),
        ("planted/secret", vec![(Regular, "planted/secret", "")]),
        ("null", vec![(Char, "null", "")]),
        ("disk", vec![(Block, "disk", "")]),
    ];
    for (number, (name, entries)) in attacks.iter().enumerate() {
        let destination = platform.path(&format!("destination-{number}"));
        fs::create_dir(&destination).unwrap();
        symlink("../outside", destination.join("planted")).unwrap();
        let (code, message) = sender.unpack(&format!("attack-{number}"), &destination, &tar(entries));
        assert_eq!(code, 1, "{entries:?}: {message}");
        assert!(message.starts_with("untar failed: '") && message.contains(name), "{entries:?}: {message}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{entries:?}");
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "precious", "{entries:?}");
        for left in fs::read_dir(&destination).unwrap() {
            let path = left.unwrap().path();
            let leads_out = path != destination.join("planted")
                && fs::canonicalize(&path).is_ok_and(|real| !real.starts_with(&destination));
            assert!(!leads_out, "{entries:?}: {} leads out", path.display());
        }
    }
    let destination = platform.path("friendly");
    let own = destination.join("sub/file").display().to_string();
    let entries = [
        (Directory, "sub/", ""),
        (Regular, "sub/file", ""),
        (Symlink, "inside", "sub"),
        (Regular, "inside/through", ""),
        (Symlink, "back", "sub/../sub/file"),
        (Link, "hard", "sub/file"),
        (Regular, "x/../sub/./dots", ""),
        (Symlink, "absolute", &own),
        (Fifo, "pipe", ""),
    ];
    assert_eq!(sender.unpack("friendly", &destination, &tar(&entries)).0, 2);
    for name in ["sub/file", "sub/through", "back", "hard", "sub/dots", "absolute"] {
        assert_eq!(fs::read_to_string(destination.join(name)).unwrap(), "attack", "{name}");
    }
    assert!(fs::symlink_metadata(destination.join("pipe")).unwrap().file_type().is_fifo());
    for (token, packed, words) in
        [("cut", tar(&entries)[..700].to_vec(), "untar failed: "), ("noise", vec![7; 5_000], "untar failed: ")]
    {
        let (code, message) = sender.unpack(token, &destination, &packed);
        assert!(code == 1 && message.starts_with(words), "{token}: {message}");
    }
    let mut long = Builder::new(Vec::new());
    entry(&mut long, EntryType::GNULongName, "././@LongLink", "", &vec![b'x'; 1 << 20]);
    let (code, message) = sender.unpack("long", &destination, &long.into_inner().unwrap());
    assert!(code == 1 && message.contains("65536 bytes"), "{message}");
    assert!(sender.cache_is_empty());
    node.assert_running();
}

#[test]
fn a_full_disk_and_one_that_cannot_be_written_to_are_named() {
    let platform = Platform::new();
    let node = Daemon::start(platform.plan("node", 2));
    let mut sender = Sender::new(&node, &platform);
    let Some(small) = SmallDisk::new(platform.path("small-disk")) else { return };
    let destination = platform.path("file");
    let cache = std::mem::replace(&mut sender.cache, small.0.clone());
    for part in 0..40 {
        sender.chunk("full-cache", "regular", &destination, &[part; 100_000], &json!({}));
    }
    let message = sender.rows("full-cache").last().unwrap().1["message"].as_str().unwrap().to_owned();
    let expected = format!("file '{}/copy_full-cache' write failed: No space left on device", small.0.display());
    assert_eq!(message, expected);
    sender.cache = cache;
    let bytes = vec![7; 2_000_000];
    let there = small.0.join("file");
    sender.chunk("full", "regular", &there, &bytes, &json!({}));
    sender.end("full", "regular", &there, &md5(&bytes));
    let message = sender.rows("full").last().unwrap().1["message"].as_str().unwrap().to_owned();
    assert_eq!(message, format!("Can't copy file to {}, No space left on device", there.display()));
    let mut archive = Builder::new(Vec::new());
    entry(&mut archive, EntryType::Regular, "big", "", &bytes);
    let (_, message) = sender.unpack("full-archive", &small.0, &archive.into_inner().unwrap());
    assert_eq!(message, "untar failed: 'big': No space left on device");
    assert_eq!(fs::read_dir(&small.0).unwrap().count(), 0, "nothing is left behind");
    small.remount_read_only();
    sender.chunk("read-only", "regular", &there, b"text", &json!({}));
    sender.end("read-only", "regular", &there, &md5(b"text"));
    let message = sender.rows("read-only").last().unwrap().1["message"].as_str().unwrap().to_owned();
    assert_eq!(message, format!("Can't copy file to {}, Read-only file system", there.display()));
    assert!(sender.cache_is_empty());
}

#[test]
fn what_the_daemon_reads_at_its_start_is_neither_replaced_nor_added_to() {
    let platform = Platform::new();
    let list = platform.path("list.d");
    fs::create_dir(&list).unwrap();
    let included = list.join("one.yaml");
    fs::write(&included, "- ^id$\n").unwrap();
    fs::hard_link(&included, platform.path("other-name")).unwrap();
    let plan = platform.plan("node", 2).with_action("whitelist_cmds: true");
    let mut node = Daemon::start(plan.with_action("allowed_cmds: !include list.d/*.yaml"));
    let mut sender = Sender::new(&node, &platform);
    let others = [node.plan.config_file(), platform.path("node-nodes.yaml"), node.plan.log_file()];
    let all = [included.clone(), platform.path("other-name"), list.join("new.yaml")].into_iter().chain(others);
    for (number, destination) in all.enumerate() {
        let before = fs::read(&destination).ok();
        let token = format!("t{number}");
        sender.chunk(&token, "regular", &destination, b"- .*\n", &json!({}));
        sender.end(&token, "regular", &destination, &md5(b"- .*\n"));
        let (code, data) = sender.rows(&token).pop().unwrap();
        let message = data["message"].as_str().unwrap().to_owned();
        assert!(code == 1 && message.contains("of this daemon"), "{}: {code} {message}", destination.display());
        let is_log = destination == node.plan.log_file();
        assert!(is_log || fs::read(&destination).ok() == before, "{}", destination.display());
    }
    let archive = tar(&[(EntryType::Regular, "more.yaml", "")]);
    let (code, message) = sender.unpack("archive", &list, &archive);
    assert!(code == 1 && message.contains("of this daemon"), "{code} {message}");
    assert!(!list.join("more.yaml").exists());
    let (code, message) = sender.unpack("beside", &list, &tar(&[(EntryType::Regular, "notes.txt", "")]));
    assert_eq!(code, 2, "{message}");
    node.assert_running();
}
