use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use super::*;
use crate::config::database::{DatabasePlace, DatabaseSettings};
use crate::config::modules::statistics::ArchiveSettings;
use crate::edge::temp_dir::TempDir;
use crate::model::node_id::NodeId;
use crate::model::secret::Secret;

const TEXT: &str = "Hosts Up/Down/Unreach:  5 / 1 / 0\nActive Host Latency: 0.1 / 0.2 / 0.3 sec\n";

fn settings(directory: &Path) -> StatisticsSettings {
    let nowhere = DatabaseSettings {
        place: DatabasePlace::Socket("/nonexistent".into()),
        database: "x".to_owned(),
        username: String::new(),
        password: Secret::default(),
        tls: None,
        connect_timeout: std::time::Duration::from_secs(1),
        read_timeout: std::time::Duration::from_secs(1),
    };
    StatisticsSettings {
        broker_dir: directory.join("broker"),
        engine_dir: directory.join("engine"),
        archive: ArchiveSettings { interval_s: 300, rows: 288, heartbeat_s: 3_000 },
        rrdtool: "rrdtool".into(),
        database: nowhere,
        realtime: None,
    }
}

fn engine(text: &str) -> Collected {
    Collected { node: NodeId::new(2).unwrap(), broker: None, text: text.to_owned() }
}

fn rrdtool(arguments: &[&str]) -> Option<String> {
    let output = Command::new("rrdtool").args(arguments).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn text_of_a_broker_becomes_a_file_that_others_can_read() {
    let directory = TempDir::new();
    let settings = settings(&directory.join(""));
    let broker = |text: &str| Collected { broker: Some("central-broker".to_owned()), ..engine(text) };
    assert_eq!(write(&settings, &[broker("{\"a\":1}"), broker("{\"a\":2}")]), [Vec::<String>::new(), Vec::new()]);
    let file = settings.broker_dir.join("2/central-broker.json");
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"a\":2}");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o444, 0o444);
    assert_eq!(fs::read_dir(settings.broker_dir.join("2")).unwrap().count(), 1);
}

#[test]
fn numbers_of_an_engine_are_in_files_that_rrdtool_reads() {
    let Some(_) = rrdtool(&["--version"]) else { return };
    let directory = TempDir::new();
    let settings = settings(&directory.join("with blank"));
    assert_eq!(write(&settings, &[engine(TEXT)]), [Vec::<String>::new()]);
    let file = settings.engine_dir.join("perfmon-2/nagios_hosts_states.rrd");
    let info = rrdtool(&["info", file.to_str().unwrap()]).unwrap();
    for line in [
        "step = 300",
        "ds[Up].type = \"GAUGE\"",
        "ds[Up].minimal_heartbeat = 3000",
        "ds[Up].min = 0.0000000000e+00",
        "ds[Unreach].last_ds = \"0\"",
        "rra[0].cf = \"AVERAGE\"",
        "rra[0].rows = 288",
        "rra[0].pdp_per_row = 1",
        "rra[1].pdp_per_row = 12",
        "rra[1].rows = 288",
    ] {
        assert!(info.contains(line), "{line}\n{info}");
    }
    // A second value within the same second is not an error.
    assert_eq!(write(&settings, &[engine(TEXT)]), [Vec::<String>::new()]);
}

#[test]
fn a_file_that_is_empty_is_made_anew_and_one_of_another_layout_or_damaged_is_left_and_told() {
    let Some(_) = rrdtool(&["--version"]) else { return };
    let directory = TempDir::new();
    let settings = settings(&directory.join(""));
    let folder = settings.engine_dir.join("perfmon-2");
    fs::create_dir_all(&folder).unwrap();
    let (states, latency) = (folder.join("nagios_hosts_states.rrd"), folder.join("nagios_active_host_latency.rrd"));
    fs::write(&states, "").unwrap();
    rrdtool(&["create", latency.to_str().unwrap(), "DS:Other:GAUGE:600:0:U", "RRA:AVERAGE:0.5:1:10"]).unwrap();
    let told = write(&settings, &[engine(TEXT)]);
    assert!(fs::metadata(&states).unwrap().len() > 0);
    assert!(told[0].len() == 1 && told[0][0].contains("another layout: move it away"), "{told:?}");
    fs::write(&states, "not an RRD at all, but long enough to be looked at by somebody who expects one").unwrap();
    fs::remove_file(&latency).unwrap();
    let told = write(&settings, &[engine(TEXT)]);
    assert!(told[0].len() == 1 && told[0][0].contains("nagios_hosts_states.rrd is not written"), "{told:?}");
    assert!(latency.exists());
}

#[test]
fn without_the_program_a_sentence_says_what_to_install() {
    let directory = TempDir::new();
    let settings = StatisticsSettings { rrdtool: "/nonexistent/rrdtool".into(), ..settings(&directory.join("")) };
    let told = write(&settings, &[engine(TEXT), engine("nothing")]);
    assert!(told[0][0].contains("install the package rrdtool"), "{told:?}");
    assert_eq!(told[1], ["its engine's statistics have no line that is known"]);
}
