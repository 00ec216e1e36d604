//! Real files, as the web interface writes them and as it should not.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::edge::temp_dir::TempDir;

struct Bench {
    dir: TempDir,
    files: CommandFiles,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new();
        fs::create_dir(dir.join("centcore")).unwrap();
        let files = Self::reader(&dir);
        Self { dir, files }
    }

    fn reader(dir: &TempDir) -> CommandFiles {
        CommandFiles::new(dir.join("centcore.cmd"), dir.join("centcore"))
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.dir.join(name), text).unwrap();
    }

    fn read_from(&mut self, mark: Option<FileMark>) -> FileOutcome {
        self.files.run(FileWork::Read(mark))
    }

    /// Returns the lines of the next piece.
    #[track_caller]
    fn piece(&mut self) -> FilePiece {
        match self.read_from(None) {
            FileOutcome::Piece(piece) => piece,
            FileOutcome::Nothing { is_waiting, complaints } => panic!("nothing: {is_waiting} {complaints:?}"),
            _ => panic!("no piece"),
        }
    }

    /// Reads everything that is there. Returns file and line.
    fn all(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            match self.read_from(None) {
                FileOutcome::Piece(piece) => {
                    let name = Path::new(&piece.path).file_name().unwrap().to_string_lossy().into_owned();
                    let line = |(_, line): &(u64, Vec<u8>)| format!("{name}: {}", String::from_utf8_lossy(line));
                    found.extend(piece.lines.iter().map(line));
                    if piece.is_whole {
                        assert!(self.files.run(FileWork::Remove) == FileOutcome::Removed);
                    }
                }
                FileOutcome::Nothing { is_waiting: true, .. } => std::thread::sleep(Duration::from_millis(10)),
                _ => return found,
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = [self.dir.path().to_owned(), self.dir.join("centcore")]
            .iter()
            .flat_map(|dir| fs::read_dir(dir).unwrap())
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name != "centcore")
            .collect();
        names.sort();
        names
    }
}

#[test]
fn files_of_a_crash_come_first_and_the_others_by_their_age() {
    let mut bench = Bench::new();
    for (name, text) in [
        ("centcore/2.cmd", "a\nb\n"),
        ("centcore/1.cmd", "c"),
        ("centcore.cmd", "d\n"),
        ("centcore/.hidden", "x\n"),
        ("centcore/9.cmd_read", "e\n"),
        ("centcore.cmd_read", "f\n"),
    ] {
        bench.write(name, text);
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::create_dir(bench.dir.join("centcore/folder")).unwrap();
    let expected = [
        "centcore.cmd_read: f",
        "9.cmd_read: e",
        "centcore.cmd_read: d",
        "2.cmd_read: a",
        "2.cmd_read: b",
        "1.cmd_read: c",
    ];
    assert_eq!(bench.all(), expected);
    assert_eq!(bench.names(), [".hidden", "folder"]);
}

#[test]
fn a_file_is_read_on_from_its_mark_and_another_of_its_name_from_its_start() {
    let mut bench = Bench::new();
    bench.write("centcore.cmd", "a\nbc\nd\n");
    let piece = bench.piece();
    let lines: Vec<u64> = piece.lines.iter().map(|(position, _)| *position).collect();
    assert_eq!((lines, piece.next), (vec![0, 2, 5], 7));
    // The daemon was killed after the first line.
    let mark = FileMark { path: piece.path.clone(), identity: piece.identity.clone(), offset: 2 };
    bench.files = Bench::reader(&bench.dir);
    let FileOutcome::Piece(again) = bench.read_from(Some(mark.clone())) else { panic!() };
    assert_eq!(again.lines, [(2, b"bc".to_vec()), (5, b"d".to_vec())]);
    assert_eq!(again.identity, piece.identity);
    let other = FileMark { identity: "1-2-3".to_owned(), ..mark };
    bench.files = Bench::reader(&bench.dir);
    let FileOutcome::Piece(fresh) = bench.read_from(Some(other)) else { panic!() };
    assert_eq!(fresh.lines.len(), 3);
}

#[test]
fn a_file_that_is_being_written_is_read_as_it_grows_and_only_its_whole_lines() {
    let mut bench = Bench::new();
    bench.write("centcore.cmd", "");
    let mut writer = OpenOptions::new().append(true).open(bench.dir.join("centcore.cmd")).unwrap();
    writer.write_all(b"first\nsec").unwrap();
    let piece = bench.piece();
    assert_eq!((piece.lines, piece.is_whole), (vec![(0, b"first".to_vec())], false));
    assert!(matches!(bench.read_from(None), FileOutcome::Nothing { is_waiting: true, .. }));
    writer.write_all(b"ond\nth").unwrap();
    let piece = bench.piece();
    assert_eq!((piece.lines, piece.is_whole), (vec![(6, b"second".to_vec())], false));
    writer.write_all(b"ird").unwrap();
    drop(writer);
    assert_eq!(bench.all(), ["centcore.cmd_read: third"]);
    assert!(bench.names().is_empty());
}

#[test]
fn two_readers_of_one_directory_take_each_file_once() {
    let mut bench = Bench::new();
    for number in 0..100 {
        bench.write(&format!("centcore/{number:03}.cmd"), format!("{number}\n"));
    }
    let mut other = Bench { dir: TempDir::new(), files: Bench::reader(&bench.dir) };
    let second = std::thread::spawn(move || other.all());
    let mut found = bench.all();
    found.extend(second.join().unwrap());
    // A reader that stopped while the other one held a file looks again.
    found.extend(bench.all());
    found.sort();
    let expected: Vec<String> = (0..100).map(|number| format!("{number:03}.cmd_read: {number}")).collect();
    assert_eq!(found, expected);
    assert!(bench.names().is_empty());
}

#[test]
fn a_file_that_another_daemon_reads_is_left_to_it_also_when_a_new_one_of_its_name_comes() {
    let mut bench = Bench::new();
    bench.write("centcore.cmd", "a\n");
    bench.piece();
    bench.write("centcore.cmd", "b\n");
    let mut other = Bench::reader(&bench.dir);
    assert!(matches!(other.run(FileWork::Read(None)), FileOutcome::Nothing { is_waiting: false, .. }));
    assert_eq!(bench.names(), ["centcore.cmd", "centcore.cmd_read"]);
    assert!(bench.files.run(FileWork::Remove) == FileOutcome::Removed);
    assert_eq!(bench.all(), ["centcore.cmd_read: b"]);
}

#[test]
fn a_large_file_comes_in_pieces_and_a_line_that_is_too_long_is_left_out() {
    let mut bench = Bench::new();
    let mut text = Vec::new();
    for number in 0..5_000 {
        text.extend_from_slice(format!("EXTERNALCMD:2:[1] {number}\n").as_bytes());
    }
    text.extend_from_slice(&vec![b'x'; 3 << 20]);
    text.extend_from_slice(b"\nlast");
    bench.write("centcore.cmd", &text);
    let (mut lines, mut too_long, mut pieces) = (Vec::new(), 0, 0);
    loop {
        let piece = bench.piece();
        assert!(piece.lines.len() <= LINES_MAX);
        lines.extend(piece.lines.into_iter().map(|(_, line)| line));
        too_long += piece.too_long.len();
        pieces += 1;
        if piece.is_whole {
            break;
        }
    }
    assert_eq!((lines.len(), too_long), (5_001, 1));
    assert!(pieces > 3);
    assert_eq!(lines.last().unwrap(), b"last");
}

#[test]
fn what_cannot_be_read_is_said_and_stays() {
    let mut bench = Bench::new();
    fs::remove_dir(bench.dir.join("centcore")).unwrap();
    let complaint = |outcome: FileOutcome| match outcome {
        FileOutcome::Nothing { is_waiting: false, complaints } => complaints.join("|"),
        _ => panic!("something"),
    };
    assert!(complaint(bench.read_from(None)).contains("cannot be read: No such file"));
    fs::create_dir(bench.dir.join("centcore")).unwrap();
    assert_eq!(complaint(bench.read_from(None)), "");
    std::os::unix::fs::symlink("/etc/passwd", bench.dir.join("centcore.cmd")).unwrap();
    assert!(complaint(bench.read_from(None)).contains("centcore.cmd cannot be read"));
    fs::remove_file(bench.dir.join("centcore.cmd")).unwrap();
    bench.write("centcore/1.cmd", "a\n");
    fs::set_permissions(bench.dir.join("centcore/1.cmd"), fs::Permissions::from_mode(0o0)).unwrap();
    if File::open(bench.dir.join("centcore/1.cmd")).is_err() {
        assert!(complaint(bench.read_from(None)).contains("1.cmd cannot be read"));
        assert_eq!(bench.names(), ["1.cmd"]);
    }
}
