//! Writes the statistics of engines and brokers where Centreon Web reads them (docs/protocol.md section 17): files with
//! the text of brokers, and RRD files and rows of `nagios_stats` for engines. It blocks, so it runs on worker threads.

mod engine_lines;
mod rrd;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::config::modules::statistics::StatisticsSettings;
use crate::edge::centreon_database;
use crate::model::statistics::Collected;

use engine_lines::{Group, groups};
use rrd::{RrdTool, Update};

/// Mode of new directories; the web server, which runs as another user, must be able to read them.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Writes the statistics of nodes. Returns for each node, in order, a sentence about what could not be written.
/// Everything else is written nevertheless.
#[must_use]
pub fn write(settings: &StatisticsSettings, collected: &[Collected]) -> Vec<Vec<String>> {
    let mut complaints: Vec<Vec<String>> = Vec::with_capacity(collected.len());
    let (mut updates, mut rows) = (Vec::new(), Vec::new());
    for (index, one) in collected.iter().enumerate() {
        let mut own = Vec::new();
        match &one.broker {
            Some(name) => own.extend(write_broker(settings, one, name).err()),
            None => {
                let groups = groups(&one.text);
                if groups.is_empty() {
                    own.push("its engine's statistics have no line that is known".to_owned());
                }
                match engine_directory(settings, one) {
                    Ok(directory) => updates.extend(groups.iter().map(|group| Update::new(index, &directory, group))),
                    Err(text) => own.push(text),
                }
                let of_table: Vec<_> = groups.iter().flat_map(Group::rows).collect();
                if !of_table.is_empty() {
                    rows.push((index, one.node, of_table));
                }
            }
        }
        complaints.push(own);
    }
    for (index, text) in RrdTool::new(settings).run(updates) {
        complaints.get_mut(index).into_iter().for_each(|own| own.push(text.clone()));
    }
    if let (Some(realtime), false) = (&settings.realtime, rows.is_empty()) {
        let of_nodes: Vec<_> = rows.iter().map(|(_, node, rows)| (*node, rows.clone())).collect();
        if let Err(fault) = centreon_database::write_statistics(realtime, &of_nodes) {
            let text = format!("the table nagios_stats is not written: {fault}");
            for (index, ..) in &rows {
                complaints.get_mut(*index).into_iter().for_each(|own| own.push(text.clone()));
            }
        }
    }
    complaints
}

fn make_directory(path: &Path) -> Result<(), String> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|error| format!("the directory {} cannot be made: {error}", path.display()))
}

fn engine_directory(settings: &StatisticsSettings, one: &Collected) -> Result<std::path::PathBuf, String> {
    let directory = settings.engine_dir.join(format!("perfmon-{}", one.node));
    make_directory(&directory).map(|()| directory)
}

/// Writes a file of a broker atomically.
fn write_broker(settings: &StatisticsSettings, one: &Collected, name: &str) -> Result<(), String> {
    let directory = settings.broker_dir.join(one.node.to_string());
    make_directory(&directory)?;
    let file = directory.join(format!("{name}.json"));
    let new = directory.join(format!(".{name}.json.new"));
    let written = (|| -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(FILE_MODE);
        let mut made = options.open(&new)?;
        made.write_all(one.text.as_bytes())?;
        // Otherwise a power cut could leave an empty file under the name.
        made.sync_data()?;
        fs::rename(&new, &file)
    })();
    written.map_err(|error| {
        let _absent = fs::remove_file(&new);
        format!("the file {} cannot be written: {error}", file.display())
    })
}

#[cfg(test)]
mod tests;
