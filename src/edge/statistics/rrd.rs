//! Writes RRD files with the program `rrdtool` in pipe mode: one process for all files of a job.
//!
//! A missing or empty file is created under another name and moved into place. The program answers each command with a
//! line that begins with `OK` or `ERROR`. It would also answer an empty command with OK, so none is ever sent.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::engine_lines::Group;
use crate::config::modules::statistics::{ArchiveSettings, StatisticsSettings};

/// Values for one file.
pub(super) struct Update {
    /// Index of the node that the values belong to.
    index: usize,
    file: PathBuf,
    sources: &'static [&'static str],
    values: String,
}

impl Update {
    pub(super) fn new(index: usize, directory: &Path, group: &Group) -> Self {
        Self { index, file: directory.join(group.file), sources: group.sources, values: group.values.join(":") }
    }
}

/// The program, and the properties of new files.
pub(super) struct RrdTool<'a> {
    program: &'a Path,
    archive: ArchiveSettings,
}

impl<'a> RrdTool<'a> {
    pub(super) fn new(settings: &'a StatisticsSettings) -> Self {
        Self { program: &settings.rrdtool, archive: settings.archive }
    }

    /// Performs all updates; returns for each failure its index and a sentence.
    pub(super) fn run(&self, updates: Vec<Update>) -> Vec<(usize, String)> {
        if updates.is_empty() {
            return Vec::new();
        }
        let mut pipe = match Pipe::start(self.program) {
            Ok(pipe) => pipe,
            Err(text) => {
                let all: BTreeSet<usize> = updates.iter().map(|update| update.index).collect();
                return all.into_iter().map(|index| (index, text.clone())).collect();
            }
        };
        let failed = |update: &Update, text: String| {
            (update.index, format!("the file {} is not written: {text}", update.file.display()))
        };
        let mut failures = Vec::new();
        for update in &updates {
            if let Err(text) = self.make(&mut pipe, update).and_then(|()| self.update(&mut pipe, update)) {
                failures.push(failed(update, text));
            }
        }
        pipe.end();
        failures
    }

    fn make(&self, pipe: &mut Pipe, update: &Update) -> Result<(), String> {
        if fs::metadata(&update.file).is_ok_and(|metadata| metadata.len() > 0) {
            return Ok(());
        }
        let ArchiveSettings { interval_s, rows, heartbeat_s } = self.archive;
        let new = update.file.with_extension("new");
        let sources: Vec<String> =
            update.sources.iter().map(|source| format!("DS:{source}:GAUGE:{heartbeat_s}:0:U")).collect();
        let made = pipe.ask(&format!(
            "create {} -s {interval_s} {} RRA:AVERAGE:0.5:1:{rows} RRA:AVERAGE:0.5:12:{rows}",
            quoted(&new)?,
            sources.join(" ")
        ));
        let moved = made.and_then(|()| fs::rename(&new, &update.file).map_err(|error| error.to_string()));
        if moved.is_err() {
            let _absent = fs::remove_file(&new);
        }
        moved
    }

    fn update(&self, pipe: &mut Pipe, update: &Update) -> Result<(), String> {
        let (file, sources) = (quoted(&update.file)?, update.sources.join(":"));
        match pipe.ask(&format!("update {file} --template {sources} N:{}", update.values)) {
            // The file already has a value of this second or a newer one.
            Err(text) if text.contains("illegal attempt to update using time") => Ok(()),
            Err(text) if text.contains("unknown DS name") => {
                Err(format!("{text}; it has another layout: move it away, and a new one is made"))
            }
            Err(text) if text.contains("is not an RRD") || text.contains("corrupt") || text.contains("mmap") => {
                Err(format!("{text}; it is damaged: move it away, and a new one is made"))
            }
            outcome => outcome,
        }
    }
}

/// Quotes a path for the program's command parser.
fn quoted(path: &Path) -> Result<String, String> {
    let text = path.to_str().filter(|text| !text.contains(['"', '\'', '\\', '\n', '\r']));
    text.map(|text| format!("\"{text}\"")).ok_or_else(|| "its path has quotes or a new line in it".to_owned())
}

/// The program waiting for commands. Dropping it ends the program.
struct Pipe {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Pipe {
    fn start(program: &Path) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // The environment makes the program use decimal points and UTC.
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C");
        let mut child = command.spawn().map_err(|error| {
            format!(
                "no RRD file is written: the program '{}' cannot be started ({error}); install the package rrdtool",
                program.display()
            )
        })?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        match output {
            Some(output) => Ok(Self { child, input, output: BufReader::new(output) }),
            None => Err("no RRD file is written: the program has no output".to_owned()),
        }
    }

    fn ask(&mut self, command: &str) -> Result<(), String> {
        let gone = |error: std::io::Error| format!("rrdtool has ended ({error})");
        let input = self.input.as_mut().ok_or("rrdtool has ended")?;
        input.write_all(format!("{command}\n").as_bytes()).and_then(|()| input.flush()).map_err(gone)?;
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).map_err(gone)? == 0 {
                self.input = None;
                return Err("rrdtool has ended".to_owned());
            }
            let line = line.trim_end();
            if line.starts_with("OK") {
                return Ok(());
            }
            if let Some(text) = line.strip_prefix("ERROR:") {
                return Err(text.trim().to_owned());
            }
        }
    }

    fn end(mut self) {
        self.input = None;
        let _status = self.child.wait();
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if self.input.take().is_some() {
            let _gone = self.child.kill();
            let _status = self.child.wait();
        }
    }
}
