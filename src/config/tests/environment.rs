//! Variables of the environment override the files; accounts of the web interface.

use super::*;
use crate::config::{Refused, load_with_warnings};

impl Files {
    fn load_with(&self, variables: &[(&str, &str)]) -> Result<Config, Refused> {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load_with_warnings(&self.0.join("c.yaml"), &variables)
    }
}

const POLLER: &str = "configuration:
  gorgone:
    gorgonecore: {id: 2}
    modules:
      - {name: action, package: 'gorgone::modules::core::action::hooks', enable: true, command_timeout: 7}
      - name: pullwss
        package: gorgone::modules::core::pullwss::hooks
        enable: true
        address: a.example
        token: one
";

#[test]
fn a_variable_replaces_a_value_and_adds_one() {
    let files = Files::new(&[("c.yaml", POLLER)]);
    let config = files
        .load_with(&[
            ("GORGONE__GORGONE__GORGONECORE__ID", "77"),
            ("GORGONE__GORGONE__MODULES__ACTION__COMMAND_TIMEOUT", "5"),
            ("GORGONE__GORGONE__MODULES__ACTION__MAX_CONCURRENT_COMMANDS", "3"),
            ("GORGONE__GORGONE__MODULES__1__PORT", "8443"),
            ("GORGONE__GORGONE__MODULES__ENGINE__COMMAND_FILE", "/run/engine.cmd"),
            ("GORGONE__GORGONE__GORGONECORE__AUTHORIZED_CLIENTS__0__NODE", "9"),
            (
                "GORGONE__GORGONE__GORGONECORE__AUTHORIZED_CLIENTS__0__KEY",
                "0zZfZmpMyZfZ4ZcZlZgZjZkZmZnZoZpZqZrZsZtZu3Z",
            ),
            ("GORGONE__GORGONE__GORGONECORE__HOSTNAME", ""),
            ("GORGONE_OTHER", "x"),
            ("CENTRAL_OTHER", "x"),
        ])
        .unwrap();
    let action = config.modules.action.as_ref().unwrap();
    assert_eq!(config.core.id.unwrap().to_string(), "77");
    assert_eq!((action.command_timeout.as_secs(), action.max_concurrent), (5, 3));
    assert_eq!(config.modules.pullwss.as_ref().unwrap().port, 8_443);
    assert_eq!(config.modules.engine.as_ref().unwrap().command_file.as_deref(), Some("/run/engine.cmd"));
    assert_eq!(config.core.authorized_clients.len(), 1);
    let from: Vec<_> = config.from_environment.iter().map(|value| (value.key.as_str(), value.variable.len())).collect();
    assert_eq!(from.len(), 7, "{from:?}");
    assert!(from.contains(&("gorgonecore.id", 33)) && from.contains(&("modules[engine].command_file", 47)), "{from:?}");
}

#[test]
fn a_container_is_configured_by_the_short_names_alone() {
    let files = Files::new(&[("c.yaml", "")]);
    let config = files
        .load_with(&[
            ("GORGONE_UID", "312345678901234"),
            ("GORGONE_TOKEN", "poller-2:a"),
            ("CENTRAL_HOST", "central.example"),
            ("CENTRAL_PORT", "8086"),
            ("GORGONE__GORGONE__MODULES__PULLWSS__SSL", "false"),
            ("GORGONE__GORGONE__MODULES__PULLWSS__TOKEN", "long"),
            ("GORGONE__GORGONE__MODULES__PULLWSS__CENTRAL_URI", ""),
        ])
        .unwrap_or_else(|refused| panic!("{:#?}", refused.problems));
    let wss = config.modules.pullwss.unwrap();
    assert_eq!((wss.host.as_str(), wss.port, wss.token.as_str()), ("central.example", 8_086, "poller-2:a"));
    assert_eq!(config.core.id.unwrap().to_string(), "312345678901234");
    // On a daemon that does not dial, these variables are meant for another program.
    let files = Files::new(&[("c.yaml", "gorgone: {}")]);
    let config = files.load_with(&[("CENTRAL_HOST", "x"), ("CENTRAL_PORT", "y")]).unwrap();
    assert!(config.from_environment.is_empty() && config.modules.pullwss.is_none());
}

#[test]
fn a_wrong_value_and_a_wrong_path_name_the_variable() {
    let files = Files::new(&[("c.yaml", POLLER)]);
    let refused = files.load_with(&[("GORGONE_UID", "two"), ("CENTRAL_PORT", "0")]).unwrap_err();
    let lines = files.lines(&refused.problems);
    assert!(lines[0].starts_with("environment variable GORGONE_UID: gorgonecore.id: is 'two'; allowed: "), "{lines:?}");
    let port =
        "environment variable CENTRAL_PORT: modules[pullwss].port: is '0'; allowed: a whole number from 1 to 65535";
    assert!(lines.iter().any(|line| line == port), "{lines:?}");
    let config = files
        .load_with(&[
            ("GORGONE__GORGONE__GORGONECORE__ID__X", "1"),
            ("GORGONE__GORGONE__MODULES__PULLWSS", "1"),
            ("GORGONE__GORGONE__MODULES__7__TOKEN", "1"),
            ("GORGONE__GORGONE____ID", "1"),
            ("GORGONE__GORGONE__GORGONECORE__IDD", "1"),
        ])
        .unwrap();
    let warnings = files.lines(&config.warnings).join("\n");
    for line in [
        "variable GORGONE__GORGONE__GORGONECORE__ID__X: asks for 'x' of what is a single value; ignored",
        "variable GORGONE__GORGONE__MODULES__PULLWSS: names entry 1 of 'modules' and no value in it; ignored",
        "variable GORGONE__GORGONE__MODULES__7__TOKEN: asks for '7' of 'modules', which has 2 entries",
        "variable GORGONE__GORGONE____ID: is not a path to a value, ignored",
        "variable GORGONE__GORGONE__GORGONECORE__IDD: gorgonecore.idd: unknown key, ignored; is 'id' meant?",
    ] {
        assert!(warnings.contains(line), "{line}\n{warnings}");
    }
}

#[cfg(feature = "centreon")]
#[test]
fn accounts_of_the_web_interface_are_read_and_the_last_of_a_name_counts() {
    let files = Files::new(&[(
        "c.yaml",
        "gorgone:
  tpapi:
    - {name: clapi, username: old, password: a}
    - {name: clapi, username: admin, password: 'b$'}
    - name: centreonv2
      base_url: http://127.0.0.1/centreon/api/latest/
      username: admin
      password: c
      backend: lwp
    - {username: x}
    - {name: half, username: x}
",
    )]);
    let config = files.config("c.yaml");
    let names: Vec<_> = config.tpapi.iter().map(|one| (one.name.as_str(), one.username.as_str())).collect();
    assert_eq!(names, [("clapi", "admin"), ("centreonv2", "admin")]);
    assert_eq!(config.tpapi[1].url.as_ref().unwrap().path, "/centreon/api/latest");
    assert_eq!(
        files.warnings("c.yaml"),
        ["c.yaml: tpapi[3]: has no 'name', by which modules would ask for it; ignored"]
    );
    let url = "gorgone: {tpapi: [{name: a, base_url: 'web/', username: u, password: p}]}";
    let problems = Files::new(&[("c.yaml", url)]).problems("c.yaml");
    assert!(problems[0].contains("tpapi[0].base_url: is 'web/'; allowed: http://HOST"), "{problems:?}");
}
