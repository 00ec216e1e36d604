//! The module `nodes` and its database.
#![cfg(feature = "centreon")]

use super::*;
use crate::config::database::{DatabasePlace, DatabaseSettings, DatabaseTls};

const MODULES: &str = "    - {name: proxy, package: 'gorgone::modules::core::proxy::hooks', enable: true}\n    \
                       - {name: nodes, package: 'gorgone::modules::centreon::nodes::hooks', enable: true}\n";

fn file(dsn: &str, login: &str) -> String {
    format!(
        "configuration:\n  gorgone:\n    modules:\n  {}\n  centreon:\n    database:\n      db_configuration:\n        \
            dsn: '{dsn}'\n        {login}\n",
        MODULES.replace("\n    ", "\n      "),
    )
}

fn files(dsn: &str) -> Files {
    let text = file(dsn, "username: centreon\n        password: s3cret");
    Files::new(&[("c.yaml", &text), ("ca.pem", "x"), ("client.pem", "x"), ("client.key", "x")])
}

fn database(dsn: &str) -> DatabaseSettings {
    files(dsn).config("c.yaml").modules.nodes.unwrap().database
}

fn tcp(host: &str, port: u16) -> DatabasePlace {
    DatabasePlace::Tcp { host: host.to_owned(), port }
}

#[test]
fn a_dsn_is_read_with_every_separator() {
    for (dsn, place) in [
        ("mysql:host=db.example.org;port=3307;dbname=centreon", tcp("db.example.org", 3307)),
        ("mysql:host=10.0.0.1:port=3307;dbname=centreon", tcp("10.0.0.1", 3307)),
        ("mysql:host=127.0.0.1:21306;dbname=centreon", tcp("127.0.0.1", 21306)),
        ("mysql:dbname=centreon;host=10.0.0.1:3307;port=3308", tcp("10.0.0.1", 3308)),
        ("MariaDB:database=centreon;host=10.0.0.1", tcp("10.0.0.1", 3306)),
        ("DBI:mysql:centreon:10.0.0.1:3308", tcp("10.0.0.1", 3308)),
        ("mysql:host=[2001:db8::1];dbname=centreon", tcp("2001:db8::1", 3306)),
        ("mysql:dbname=centreon;mysql_socket=/run/my.sock;host=x", DatabasePlace::Socket("/run/my.sock".into())),
        ("\"mysql:host=localhost:port=3306;dbname=centreon\"", DatabasePlace::Local),
        ("mysql:dbname=centreon", DatabasePlace::Local),
        ("mysql:host=localhost;port=3307;dbname=centreon", tcp("localhost", 3307)),
        ("mysql: host = 10.0.0.1 ; port = 3307 ; dbname = centreon ;", tcp("10.0.0.1", 3307)),
    ] {
        let found = database(dsn);
        assert_eq!((&found.place, found.database.as_str()), (&place, "centreon"), "{dsn}");
        assert_eq!((found.username.as_str(), found.password.reveal()), ("centreon", "s3cret"));
        assert_eq!((found.tls, found.connect_timeout), (None, Duration::from_secs(5)));
    }
}

#[test]
fn tls_and_times_are_members_of_the_dsn() {
    let files = files("mysql:host=db;dbname=c;mysql_ssl=1;mysql_connect_timeout=2;mysql_read_timeout=3");
    let found = files.config("c.yaml").modules.nodes.unwrap().database;
    assert_eq!(found.tls, Some(DatabaseTls::default()));
    assert_eq!((found.connect_timeout, found.read_timeout), (Duration::from_secs(2), Duration::from_secs(3)));
    let path = |name: &str| files.0.join(name);
    let dsn = format!(
        "mysql:host=db;dbname=c;mysql_ssl=1;mysql_ssl_ca_file={};mysql_ssl_verify_server_cert=1;mysql_ssl_client_cert={};\
         mysql_ssl_client_key={};mysql_ssl_optional=0",
        path("ca.pem").display(),
        path("client.pem").display(),
        path("client.key").display(),
    );
    let client = Some((path("client.pem"), path("client.key")));
    let expected = DatabaseTls { ca_file: Some(path("ca.pem")), verify_name: true, client, optional: false };
    assert_eq!(database(&dsn).tls, Some(expected));
}

#[test]
fn a_dsn_that_cannot_be_used_is_a_problem_that_shows_no_password() {
    let forms = "'mysql:host=HOST;port=PORT;dbname=NAME'";
    for (dsn, problem) in [
        ("Pg:dbname=c", format!("names the driver 'Pg'; allowed: mysql or MariaDB, as in {forms}")),
        ("mysql:host=db", format!("has no 'dbname'; allowed: {forms}")),
        (
            "mysql:host=a b;dbname=c",
            "'host' is 'a b'; allowed: a host name or an address, an IPv6 address in brackets".into(),
        ),
        ("mysql:port=0;dbname=c", "'port' is '0'; allowed: a whole number from 1 to 65535".into()),
        (
            "mysql:dbname=c;mysql_read_timeout=0",
            "'mysql_read_timeout' is '0'; allowed: a number of seconds from 1 to 300".into(),
        ),
        (
            "mysql:dbname=c;mysql_ssl=maybe",
            "'mysql_ssl' is 'maybe'; allowed: true or false (also 1/0, yes/no, on/off)".into(),
        ),
        (
            "mysql:dbname=c;mysql_ssl=1;mysql_ssl_ca_path=/x",
            "'mysql_ssl_ca_path' is not supported; name one file with 'mysql_ssl_ca_file'".into(),
        ),
        (
            "mysql:dbname=c;mysql_ssl=1;mysql_ssl_client_key=/x",
            "has one of 'mysql_ssl_client_cert' and 'mysql_ssl_client_key'; both are needed".into(),
        ),
        (
            "mysql:dbname=c;mysql_ssl=1;mysql_ssl_verify_server_cert=1",
            "has 'mysql_ssl_verify_server_cert' without 'mysql_ssl_ca_file'; both are needed".into(),
        ),
        (
            "mysql:dbname=c;mysql_ssl=1;mysql_ssl_ca_file=/nowhere/ca",
            "names /nowhere/ca, which cannot be read: No such file or directory (os error 2)".into(),
        ),
    ] {
        let key = "c.yaml: centreon.database.db_configuration.dsn: ";
        assert_eq!(files(dsn).problems("c.yaml"), [format!("{key}{problem}")], "{dsn}");
    }
    let files = files("mysql:dbname=c;pass=s3cret;mysql_ssl_ca_file=/x");
    let expected =
        ["the member 'pass' is unknown, ignored", "the 'mysql_ssl_*' members have no effect without 'mysql_ssl=1'"];
    let warnings = files.warnings("c.yaml");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().zip(expected).all(|(line, text)| line.ends_with(text)), "{warnings:?}");
}

#[test]
fn the_module_needs_the_database_and_its_secrets_have_no_debug() {
    let alone = format!("gorgone:\n  modules:\n{MODULES}");
    let text = "needs 'centreon.database.db_configuration' with 'dsn', 'username' and 'password', which no file has, \
        so the module \
                is not loaded";
    assert_eq!(warnings_of(&alone), [format!("c.yaml: modules[nodes]: {text}")]);
    assert!(config_of(&alone).modules.nodes.is_none() && !config_of(&alone).modules.loaded.contains_key("nodes"));
    let problem = problems_of(&format!("{alone}centreon: {{database: {{db_configuration: {{username: u}}}}}}\n"));
    assert!(problem[0].starts_with("c.yaml: centreon.database.db_configuration.dsn: is missing"), "{problem:?}");
    let config = files("mysql:dbname=c").config("c.yaml");
    assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
    let nodes = config.modules.nodes.unwrap();
    assert_eq!((nodes.resync_time, nodes.ssh_username), (Duration::from_secs(600), None));
    let text = file("mysql:dbname=c", "password: 12345")
        .replace("nodes::hooks', ", "nodes::hooks', resync_time: '30', ssh_username: ssh, ");
    let nodes = config_of(&text).modules.nodes.unwrap();
    assert_eq!((nodes.resync_time, nodes.ssh_username.as_deref()), (Duration::from_secs(30), Some("ssh")));
    assert_eq!(nodes.database.password.reveal(), "12345");
    let without_proxy = alone.replace("core::proxy", "core::action")
        + "centreon: {database: {db_configuration: {dsn: 'mysql:dbname=c'}}}\n";
    assert!(warnings_of(&without_proxy)[0].contains("'nodes' is loaded but 'proxy' is not"));
}
