//! Copies that come from a daemon above, in pieces, and targets behind an SSH host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use super::server::Sshd;
use super::{COPIED, central, copy, last_message, last_of, rows_of};
use crate::platform::client::Client;
use crate::platform::{Daemon, Platform, seconds, until};

/// Encodes as a Perl daemon does, with a line break after every 76 characters.
fn base64_lines(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    text.as_bytes().chunks(76).map(|line| format!("{}\n", std::str::from_utf8(line).unwrap())).collect()
}

fn md5_of(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends `bytes` to a target as a Perl daemon above does, each message confirmed; the end with members of its own.
fn send_in_pieces(client: &mut Client, token: &str, target: &str, content: &Value, bytes: &[u8], end: &Value) {
    let message = |status: &str, more: &Value| {
        let mut all = content.clone();
        all["status"] = json!(status);
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "logging": null, "content": all, "parameters": { "no_fork": 1 } })
    };
    for piece in bytes.chunks(150_000) {
        let chunk = json!({ "chunk": { "data": base64_lines(piece), "size": piece.len() }, "md5": null });
        let reply = client.request("PROCESSCOPY", token, target, &message("inprogress", &chunk));
        assert_eq!(reply.json["code"], 0, "{}", reply.json);
    }
    let mut last = json!({ "chunk": null, "md5": md5_of(bytes) });
    last.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
    client.request("PROCESSCOPY", token, target, &message("end", &last));
}

fn body() -> Vec<u8> {
    (0..1_000_000_u32).map(|n| (n % 253) as u8).collect()
}

fn entries(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_copy_that_comes_in_pieces_goes_on_over_sftp_whole_or_not_at_all() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let without = Sshd::start(&platform, "no_sftp", &["no sftp"]);
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[])), (5, without.node(&[]))]));
    central.api().wait_for_pong(4, seconds(15));
    let mut client = central.client();
    let (there, cache) = (platform.path("there"), platform.path("cache"));
    fs::create_dir(&there).unwrap();
    fs::create_dir(&cache).unwrap();
    let file = there.join("it's \"a\"\nfile");
    let content = |kind: &str, to: &Path, cache: &Path| json!({ "type": kind, "destination": to, "cache_dir": cache });

    // A file, and again over it.
    for (token, mode) in [("first", json!(null)), ("second", json!("0604"))] {
        send_in_pieces(
            &mut client,
            token,
            "4",
            &content("regular", &file, &cache),
            &body(),
            &json!({ "owner": null, "group": null, "mode": mode }),
        );
        assert_eq!(last_of(&central, token), COPIED);
        assert_eq!(fs::read(&file).unwrap(), body());
        let expected = mode.as_str().map_or(0o644, |mode| u32::from_str_radix(mode, 8).unwrap());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, expected);
        let rows = central.api().rows(0, token);
        assert!(rows.iter().any(|row| row.to_string().contains("process copy inprogress")), "{rows:?}");
    }
    assert_eq!((entries(&there).len(), entries(&cache).len()), (1, 0), "nothing else is left");

    // A directory, packed; a cache_dir that is not there on this machine only matters on the host.
    fs::write(platform.path("there/inner"), "inside").unwrap();
    let archive = platform.path("archive.tar.gz");
    let tar = Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&there).arg(".").status().unwrap();
    assert!(tar.success());
    let unpacked = platform.path("un'packed");
    let packed = fs::read(&archive).unwrap();
    send_in_pieces(&mut client, "archive", "4", &content("archive", &unpacked, &cache), &packed, &json!({}));
    assert_eq!(last_of(&central, "archive"), COPIED);
    assert_eq!(fs::read_to_string(unpacked.join("inner")).unwrap(), "inside");
    assert_eq!(entries(&cache).len(), 0, "the archive is gone");

    // A failed copy is reported and leaves the existing file unchanged.
    let wrong = content("regular", &file, &cache);
    let end = json!({ "type": "regular", "destination": file, "cache_dir": cache, "status": "end", "md5": "0" });
    send_in_pieces(&mut client, "short", "4", &wrong, b"short", &json!({ "md5": md5_of(b"other") }));
    client.request("PROCESSCOPY", "no-chunk", "4", &json!({ "content": end }));
    send_in_pieces(&mut client, "no-sftp", "5", &wrong, b"short", &json!({}));
    let nowhere = content("regular", &platform.path("no/such/place"), &cache);
    send_in_pieces(&mut client, "nowhere", "4", &nowhere, b"short", &json!({}));
    send_in_pieces(&mut client, "no-archive", "4", &content("archive", &unpacked, &cache), b"no archive", &json!({}));
    client.request("PROCESSCOPY", "no-type", "4", &json!({ "content": { "status": "end", "destination": file } }));
    for (token, words) in [
        ("short", "md5 does not match"),
        ("no-chunk", "md5 does not match"),
        ("no-sftp", "offers no SFTP"),
        ("nowhere", "no such file or directory"),
        ("no-archive", "untar failed"),
        ("no-type", "neither regular nor archive"),
    ] {
        let said = last_of(&central, token);
        assert!(said.contains(words), "{token}: {said}");
    }
    assert_eq!(fs::read(&file).unwrap(), body());
    assert_eq!(entries(&cache).len(), 0);
}

#[test]
fn a_central_above_copies_to_a_host_behind_its_relay_and_runs_commands_there_afterwards() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let mut relay = platform.plan("relay", 3).with_proxy("ping: 1");
    relay.ssh_nodes.push((4, sshd.node(&[])));
    let relay = Daemon::start(relay.with_authorized("central"));
    let above = platform.plan("above", 1).with_api().with_proxy("ping: 1").with_proxy("synchistory_time: 1");
    let above = Daemon::start(above.with_node(3, relay.plan.port));
    let api = above.api();
    until("the way to the host is known", seconds(20), || {
        (api.get("/api/internal/routes/4").json().to_string().contains("\"through\":3")).then_some(())
    });
    let (source, there) = (platform.path("source"), platform.path("there"));
    fs::write(&source, vec![b'x'; 3_000_000]).unwrap();
    fs::create_dir(&there).unwrap();
    let to = there.join("file");
    let request = json!({ "source": source, "destination": to, "cache_dir": platform.path("") });
    let copied = api.post("/api/nodes/4/core/proxy/remotecopy", &request).json()["token"].as_str().unwrap().to_owned();
    // The copies are not waited for, but a command that is sent later also runs later.
    let command = api.command(4, &format!("wc -c < '{}'", to.display()));
    let rows = api.finished_rows(4, &command, seconds(30));
    assert!(rows.iter().any(|row| row.to_string().contains("3000000")), "{rows:?}");
    let rows = api.finished_rows(4, &copied, seconds(30));
    assert!(rows.iter().any(|row| row.to_string().contains(COPIED)), "{rows:?}");
    assert_eq!(entries(&there), ["file"]);
}

/// The relay files written since its creation; they are removed when it is dropped.
struct CentCore {
    directory: PathBuf,
    before: Vec<String>,
    made: bool,
}

impl CentCore {
    fn new() -> Self {
        let directory = PathBuf::from("/var/lib/centreon/centcore");
        let made = !directory.exists();
        fs::create_dir_all(&directory).expect("relay files need root");
        let before = entries(&directory);
        Self { directory, before, made }
    }

    fn new_files(&self) -> Vec<PathBuf> {
        let names = entries(&self.directory).into_iter().filter(|name| !self.before.contains(name));
        names.map(|name| self.directory.join(name)).collect()
    }

    /// Returns their content.
    fn lines(&self) -> Vec<String> {
        self.new_files().iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }
}

impl Drop for CentCore {
    fn drop(&mut self) {
        for path in self.new_files() {
            let _gone = fs::remove_file(path);
        }
        if self.made {
            let _not_empty = fs::remove_dir(&self.directory).and_then(|()| fs::remove_dir("/var/lib/centreon"));
        }
    }
}

#[test]
fn targets_behind_an_ssh_host_get_relay_files() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let behind = "nodes:\n      - {id: 9}".to_owned();
    let centcore = CentCore::new();
    let central = Daemon::start(central(&platform, &[(4, sshd.node(&[behind]))]));
    let api = central.api();
    api.wait_for_pong(4, seconds(15));

    let known = json!([{ "command": "x", "metadata": { "centcore_proxy": 1, "centcore_cmd": "RELOAD" } }]);
    assert_eq!(
        last_message(&rows_of(&api, 9, "core/action/command", &known)),
        "commands processing has finished successfully"
    );
    let mut client = central.client();
    client.request("ENGINECOMMAND", "engine", "9", &json!({ "content": { "commands": ["[1] A;b", "[2] C"] } }));
    until("the lines are handed on", seconds(15), || (centcore.new_files().len() == 3).then_some(()));

    let source = platform.write("source", "content");
    let there = platform.path("elsewhere");
    let request = json!({
        "source": source,
        "destination": there,
        "metadata": { "centcore_proxy": 1, "centcore_cmd": "SENDCFGFILE" },
    });
    assert_eq!(copy(&api, 9, &request), COPIED);
    assert!(!there.exists() && fs::read_to_string(&source).unwrap() == "content", "it keeps its name at the relay");
    assert_eq!(centcore.lines(), ["RELOAD:9\n", "EXTERNALCMD:9:[1] A;b\n", "EXTERNALCMD:9:[2] C\n", "SENDCFGFILE:9\n"]);

    // A command without a word for the relay runs nowhere, in particular not on the relay itself.
    let marker = platform.path("marker");
    for word in [json!(null), json!("RELOAD:9\nOTHER")] {
        let metadata = json!({ "centcore_proxy": 1, "centcore_cmd": word });
        let unknown = json!([{ "command": format!("touch {}", marker.display()), "metadata": metadata }]);
        let rows = rows_of(&api, 9, "core/action/command", &unknown);
        assert!(rows.iter().any(|(_, data)| data.to_string().contains("behind an ssh relay")), "{rows:?}");
    }
    assert!(!marker.exists());

    // A copy in pieces has no such word; like the original, we put it on the relay.
    let content = json!({ "type": "regular", "destination": there, "cache_dir": platform.path("") });
    send_in_pieces(&mut client, "pieces", "9", &content, b"pieces", &json!({}));
    assert_eq!(last_of(&central, "pieces"), COPIED);
    assert_eq!(fs::read_to_string(&there).unwrap(), "pieces");
    assert_eq!(centcore.lines().len(), 4);
}
