//! What a process did to the files of a folder, as strace(1) saw it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// The calls that change files, and those that are needed to know where they write.
const CALLS: &str = "trace=openat,open,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fsync,fdatasync,syncfs,\
                     rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,lseek,\
                     dup,dup2,dup3,fcntl,close,clone,clone3,copy_file_range,sendfile,splice";

/// A file, whatever its name.
pub type FileId = usize;

/// One thing that was done.
#[derive(Clone, Debug)]
pub enum Act {
    Write {
        file: FileId,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: FileId,
        len: u64,
    },
    Sync {
        file: FileId,
    },
    SyncFolder {
        folder: PathBuf,
    },
    /// Everything.
    SyncAll,
    MakeFolder {
        path: PathBuf,
    },
    /// A name for a file, which takes the place of what had the name.
    Name {
        path: PathBuf,
        file: FileId,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
}

/// An act, and the lines of the trace in which it began and ended.
#[derive(Clone, Debug)]
pub struct Event {
    pub began: usize,
    pub ended: usize,
    /// Seconds since the epoch at which it began.
    pub seconds: f64,
    pub act: Act,
}

/// The files when the trace began, and what happened to them.
pub struct Trace {
    pub root: PathBuf,
    pub files: Vec<Vec<u8>>,
    pub names: BTreeMap<PathBuf, FileId>,
    pub folders: BTreeSet<PathBuf>,
    pub events: Vec<Event>,
}

/// A command that writes the trace of what follows it (a program and its arguments) into `file`.
pub fn recording(file: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-ttt", "-y", "-xx", "-s", "4000000", "-e", CALLS, "-e", "signal=none", "-o"]).arg(file);
    command
}

impl Trace {
    /// Notes the files as they are before the process begins.
    pub fn before(root: &Path) -> Self {
        let root = root.canonicalize().unwrap();
        let mut trace = Self {
            files: Vec::new(),
            names: BTreeMap::new(),
            folders: BTreeSet::from([root.clone()]),
            events: Vec::new(),
            root: root.clone(),
        };
        trace.note_folder(&root);
        trace
    }

    fn note_folder(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                self.folders.insert(path.clone());
                self.note_folder(&path);
            } else if is_kept(&path) {
                self.names.insert(path.clone(), self.files.len());
                self.files.push(std::fs::read(&path).unwrap());
            }
        }
    }

    /// Reads what the process did.
    pub fn read(&mut self, file: &Path) {
        let text = String::from_utf8(std::fs::read(file).unwrap()).unwrap();
        let mut reader = Reader {
            sizes: self.files.iter().map(|bytes| bytes.len() as u64).collect(),
            names: self.names.clone(),
            trace: self,
            threads: BTreeSet::new(),
            open: BTreeMap::new(),
            unfinished: BTreeMap::new(),
        };
        for (number, line) in text.lines().enumerate() {
            reader.line(number, line);
        }
    }
}

/// Whether a file is part of a state. The index of a write-ahead log is not: SQLite makes it anew.
fn is_kept(path: &Path) -> bool {
    !path.to_string_lossy().ends_with("-shm")
}

/// An open file: which one, where the next write goes, and whether that is always the end.
#[derive(Clone, Copy)]
struct Open {
    file: FileId,
    at: u64,
    appends: bool,
}

struct Reader<'a> {
    trace: &'a mut Trace,
    names: BTreeMap<PathBuf, FileId>,
    sizes: Vec<u64>,
    /// The threads of the process; those of its children are left out.
    threads: BTreeSet<u32>,
    open: BTreeMap<u32, Open>,
    /// Calls that another thread's interrupted in the trace.
    unfinished: BTreeMap<u32, (usize, String)>,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, line: &str) {
        let (thread, rest) = line.split_once(char::is_whitespace).unwrap();
        let thread: u32 = thread.parse().unwrap();
        if self.threads.is_empty() {
            self.threads.insert(thread);
        }
        if !self.threads.contains(&thread) {
            return;
        }
        let (seconds, call) = rest.trim_start().split_once(' ').unwrap();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            self.unfinished.insert(thread, (number, begun.to_owned()));
            return;
        }
        let (began, call) = match call.strip_prefix("<... ") {
            Some(resumed) => {
                let (began, begun) = self.unfinished.remove(&thread).unwrap();
                (began, begun + resumed.split_once(" resumed>").unwrap().1)
            }
            None => (number, call.to_owned()),
        };
        let Some((name, rest)) = call.split_once('(') else { return };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return };
        let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
        if result.starts_with('-') || result.starts_with('?') {
            return;
        }
        let arguments = split(arguments);
        let now = Moment { began, ended: number, seconds: seconds.parse().unwrap() };
        self.call(&now, name, &arguments, result);
    }

    fn call(&mut self, now: &Moment, name: &str, arguments: &[&str], result: &str) {
        let path = |index: usize| absolute(Path::new("/"), arguments[index]);
        let path_at = |folder: usize, index: usize| absolute(&described(arguments[folder]), arguments[index]);
        match name {
            "clone" | "clone3" if arguments.iter().any(|argument| argument.contains("CLONE_THREAD")) => {
                self.threads.insert(leading_number(result));
            }
            "openat" => self.opened(now, path_at(0, 1), arguments[2], result),
            "open" | "creat" => self.opened(now, path(0), arguments.get(1).unwrap_or(&"O_CREAT|O_TRUNC"), result),
            "close" => _ = self.open.remove(&leading_number(arguments[0])),
            "dup" | "dup2" | "dup3" => self.copied(arguments[0], result),
            "fcntl" if arguments.get(1).is_some_and(|what| what.starts_with("F_DUPFD")) => {
                self.copied(arguments[0], result);
            }
            "lseek" => {
                if let Some(open) = self.open.get_mut(&leading_number(arguments[0])) {
                    open.at = result.split_whitespace().next().unwrap().parse().unwrap();
                }
            }
            "write" | "writev" => self.wrote(now, arguments[0], &text(arguments[1]), None),
            "pwrite64" | "pwritev" | "pwritev2" => {
                let at = arguments[if name == "pwrite64" { 3 } else { 2 }].parse().unwrap();
                self.wrote(now, arguments[0], &text(arguments[1]), Some(at));
            }
            "ftruncate" => {
                if let Some(open) = self.open.get(&leading_number(arguments[0])).copied() {
                    self.truncated(now, open.file, arguments[1].parse().unwrap());
                }
            }
            "truncate" => {
                if let Some(file) = self.names.get(&path(0)).copied() {
                    self.truncated(now, file, arguments[1].parse().unwrap());
                }
            }
            "fsync" | "fdatasync" => self.synced(now, arguments[0]),
            "syncfs" => self.push(now, Act::SyncAll),
            "mkdir" => self.made_folder(now, path(0)),
            "mkdirat" => self.made_folder(now, path_at(0, 1)),
            "rename" => self.renamed(now, path(0), path(1)),
            "renameat" | "renameat2" => self.renamed(now, path_at(0, 1), path_at(2, 3)),
            "unlink" | "rmdir" => self.removed(now, path(0)),
            "unlinkat" => self.removed(now, path_at(0, 1)),
            "link" | "linkat" | "symlink" | "symlinkat" | "copy_file_range" | "sendfile" | "splice" => {
                let touches = arguments.iter().any(|argument| described(argument).starts_with(&self.trace.root));
                assert!(!touches, "this test does not know what {name} does: {arguments:?}");
            }
            _ => {}
        }
    }

    fn push(&mut self, now: &Moment, act: Act) {
        self.trace.events.push(Event { began: now.began, ended: now.ended, seconds: now.seconds, act });
    }

    fn is_ours(&self, path: &Path) -> bool {
        path.starts_with(&self.trace.root) && is_kept(path)
    }

    fn opened(&mut self, now: &Moment, path: PathBuf, flags: &str, result: &str) {
        if !self.is_ours(&path) || flags.contains("O_DIRECTORY") || self.trace.folders.contains(&path) {
            return;
        }
        let file = match self.names.get(&path).copied() {
            Some(file) => file,
            // Somebody else made it.
            None if !flags.contains("O_CREAT") => return,
            None => {
                let file = self.trace.files.len();
                self.trace.files.push(Vec::new());
                self.sizes.push(0);
                self.names.insert(path.clone(), file);
                self.push(now, Act::Name { path, file });
                file
            }
        };
        if flags.contains("O_TRUNC") && self.sizes[file] > 0 {
            self.truncated(now, file, 0);
        }
        self.open.insert(leading_number(result), Open { file, at: 0, appends: flags.contains("O_APPEND") });
    }

    fn copied(&mut self, from: &str, to: &str) {
        if let Some(open) = self.open.get(&leading_number(from)).copied() {
            self.open.insert(leading_number(to), open);
        }
    }

    fn wrote(&mut self, now: &Moment, descriptor: &str, bytes: &[u8], at: Option<u64>) {
        let Some(open) = self.open.get_mut(&leading_number(descriptor)) else { return };
        let len = bytes.len() as u64;
        let size = &mut self.sizes[open.file];
        let begin = at.unwrap_or(if open.appends { *size } else { open.at });
        if at.is_none() {
            open.at = begin + len;
        }
        *size = (*size).max(begin + len);
        let file = open.file;
        self.push(now, Act::Write { file, at: begin, bytes: bytes.to_vec() });
    }

    fn truncated(&mut self, now: &Moment, file: FileId, len: u64) {
        self.sizes[file] = len;
        self.push(now, Act::Truncate { file, len });
    }

    fn synced(&mut self, now: &Moment, descriptor: &str) {
        if let Some(open) = self.open.get(&leading_number(descriptor)).copied() {
            self.push(now, Act::Sync { file: open.file });
        } else if self.trace.folders.contains(&described(descriptor)) {
            self.push(now, Act::SyncFolder { folder: described(descriptor) });
        }
    }

    fn made_folder(&mut self, now: &Moment, path: PathBuf) {
        if self.is_ours(&path) {
            self.trace.folders.insert(path.clone());
            self.push(now, Act::MakeFolder { path });
        }
    }

    fn renamed(&mut self, now: &Moment, from: PathBuf, to: PathBuf) {
        if let Some(file) = self.names.remove(&from) {
            self.names.insert(to.clone(), file);
            self.push(now, Act::Rename { from, to });
        }
    }

    fn removed(&mut self, now: &Moment, path: PathBuf) {
        if self.names.remove(&path).is_some() {
            self.push(now, Act::Remove { path });
        }
    }
}

struct Moment {
    began: usize,
    ended: usize,
    seconds: f64,
}

/// The arguments of a call: separated by commas outside of texts, brackets and `<…>`.
fn split(arguments: &str) -> Vec<&str> {
    let (mut found, mut depth, mut is_text, mut begin) = (Vec::new(), 0_i32, false, 0);
    for (index, character) in arguments.char_indices() {
        match character {
            '"' => is_text = !is_text,
            '[' | '{' | '<' if !is_text => depth += 1,
            ']' | '}' | '>' if !is_text => depth -= 1,
            ',' if !is_text && depth == 0 => {
                found.push(arguments[begin..index].trim());
                begin = index + 1;
            }
            _ => {}
        }
    }
    found.push(arguments[begin..].trim());
    found
}

/// The bytes of all texts in an argument, `"\x61\x62"`.
fn text(argument: &str) -> Vec<u8> {
    assert!(!argument.contains("\"..."), "strace has cut a text short");
    argument.split('"').skip(1).step_by(2).flat_map(unescaped).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// The path that strace adds to a descriptor, `7<\x2f\x61>`.
fn described(argument: &str) -> PathBuf {
    let path = argument.split_once('<').and_then(|(_, rest)| rest.split('>').next()).unwrap_or_default();
    PathBuf::from(String::from_utf8_lossy(&unescaped(path)).into_owned())
}

fn absolute(folder: &Path, argument: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in folder.join(String::from_utf8_lossy(&text(argument)).as_ref()).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

fn leading_number(text: &str) -> u32 {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().unwrap_or(u32::MAX)
}
