//! `copy`: copies a file or directory to nodes, or from them, through the REST API and shows the progress.

mod progress;
mod screen;
mod transfer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::fail;
use super::many::{self, End};
use super::remote::{INTERRUPTED, Pause, READER_GONE, Remote};
use super::remote_arguments::{CopyOptions, Direction};
use screen::{Copied, print_line};
use transfer::{Outcome, Transfer};

/// Runs the copy and shows its progress.
pub(super) fn run(options: &CopyOptions) -> ExitCode {
    let mut copied = Copied::new(options);
    match copy(options, &mut copied) {
        Ok(end) => {
            copied.finish();
            match end {
                _ if copied.are_all_there() => ExitCode::SUCCESS,
                End::Interrupted => ExitCode::from(INTERRUPTED),
                End::ReaderGone => ExitCode::from(READER_GONE),
                End::Complete => ExitCode::FAILURE,
            }
        }
        Err(text) if options.json => {
            let outcome = Outcome { is_there: Some(false), message: text, ..Outcome::default() };
            print_line(&outcome.to_json(options.targets.single()).to_string());
            ExitCode::FAILURE
        }
        Err(text) => fail(&text),
    }
}

fn copy(options: &CopyOptions, copied: &mut Copied) -> Result<End, String> {
    let local = match options.direction {
        Direction::ToNodes => absolute(&options.source)?,
        Direction::FromNodes => absolute(Path::new(&options.destination))?,
    };
    let local = local.to_str().ok_or_else(|| format!("{}: the name is not UTF-8", local.display()))?;
    let mut pause = Pause::new()?;
    let remote = Remote::of_config(&options.config)?;
    let nodes = options.targets.resolve(&remote)?;
    let is_directory = options.destination.ends_with('/') || Path::new(local).is_dir();
    if options.direction == Direction::FromNodes && nodes.len() > 1 && !is_directory {
        return Err(format!("{local} is not a directory, but copies from several nodes need one: create it first"));
    }
    let is_several = options.targets.single().is_none();
    let transfer = Transfer { remote: &remote, options, local, is_directory, is_several };
    let end = many::run(&nodes, options.at_once, &mut pause, |worker| transfer.carry_out(worker), copied)?;
    copied.left_out(&nodes);
    Ok(end)
}

/// Makes a path absolute, because the daemon has another working directory.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}
