//! `keys rotate`: makes a new key for the running daemon, which announces it to its peers and then uses it, and shows
//! how far that is.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use super::{fail, say};
use crate::config::rotation::{self, RotationState};
use crate::config::{self, Config};
use crate::daemon::key_files;
use crate::edge::random::SystemRandom;
use crate::edge::system::LocalTime;
use crate::edge::{clock, history_store, joined_file, process_group, system};

/// How long to wait for the daemon's first answer.
const TRIES: usize = 60;
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Begins a rotation, or shows the one that is under way.
pub(super) fn run(path: &Path, overlap: Option<i64>) -> ExitCode {
    match rotate(path, overlap) {
        Ok(text) => say(&text),
        Err(text) => fail(&text),
    }
}

fn rotate(path: &Path, overlap: Option<i64>) -> Result<String, String> {
    let config = config::load(path).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("{first}; 'stheno check --config {}' shows all", path.display())
    })?;
    let place = rotation::path_of(&config.core.database);
    let known = rotation::read(&place).map_err(|text| format!("{}: {text}", place.display()))?;
    // A second new key within the overlap would replace one that some links have not yet proved.
    if let Some(state) = known.filter(|state| !state.done || state.until > clock::wall().as_seconds()) {
        return Ok(shown(&state));
    }
    let process = history_store::holder(&config.core.database)
        .ok_or_else(|| format!("no daemon runs with {}, so nobody could announce a new key", path.display()))?;
    let state = begin(&config, overlap.unwrap_or(DEFAULT_OVERLAP))?;
    joined_file::write(&place, &state).map_err(|error| format!("{}: cannot be written: {error}", place.display()))?;
    process_group::hang_up(process).map_err(|error| format!("the daemon (process {process}) is not told: {error}"))?;
    for _ in 0..TRIES {
        thread::sleep(ASK_EVERY);
        if let Ok(Some(now)) = rotation::read(&place)
            && now != state
            && (now.done || now.peers.values().any(|known| known != KNOWS))
        {
            return Ok(shown(&now));
        }
    }
    Ok(shown(&rotation::read(&place).ok().flatten().unwrap_or(state)))
}

/// Time for which peers take both keys, in seconds.
const DEFAULT_OVERLAP: i64 = 86_400;
const KNOWS: &str = "knows it";

/// Makes the new key, beside the one in use.
fn begin(config: &Config, overlap: i64) -> Result<RotationState, String> {
    let private = &config.core.private_key;
    key_files::load(private).map_err(|error| error.to_string())?.ok_or("this daemon has no key yet: start it once")?;
    let key = key_files::generate_next(private, &mut SystemRandom::new()).map_err(|error| error.to_string())?;
    joined_file::give_to_owner(private, &key_files::next_of(private));
    let now = clock::wall().as_seconds();
    let (switch_at, until) = (now.saturating_add(overlap / 2), now.saturating_add(overlap));
    Ok(RotationState { key, switch_at, until, done: false, peers: std::collections::BTreeMap::new() })
}

fn shown(state: &RotationState) -> String {
    let mut text = String::new();
    let _written = if state.done {
        writeln!(
            text,
            "the new key {} is in use; peers take the old one until {}, and no other key is made before",
            state.key,
            time(state.until)
        )
    } else {
        writeln!(
            text,
            "the new key {} is announced; it is used when every peer knows it, at {} at the latest",
            state.key,
            time(state.switch_at)
        )
    };
    for (peer, known) in &state.peers {
        let _written = writeln!(text, "  {peer}: {known}");
    }
    if state.peers.values().any(|known| known != KNOWS) {
        text.push_str(
            "Whoever does not learn it has to be told by hand: 'authorized_clients' of a daemon that this one connects \
             to, 'stheno keys trust' or the fingerprint of one that connects to this one.\n",
        );
    }
    text
}

fn time(seconds: i64) -> String {
    match system::local_time(seconds) {
        Some(LocalTime { year, month, day, hour, minute, second }) => {
            format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        }
        None => format!("@{seconds}"),
    }
}
