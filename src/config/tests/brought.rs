//! Configurations as people bring them: options that other programs ignore silently, and options slightly out of place.

use super::*;

fn of_module(name: &str, lines: &str) -> String {
    let lines = lines.replace('\n', "\n      ");
    format!(
        "gorgone:\n  modules:\n    - name: {name}\n      package: gorgone::modules::core::{name}::hooks\n      \
            enable: true\n      {lines}\n"
    )
}

#[test]
fn an_unquoted_value_keeps_its_text_and_blanks_in_quotes_stay() {
    for (written, expected) in [
        ("1e5", "1e5"),
        ("0x1F", "0x1F"),
        ("1.10", "1.10"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("true", "true"),
        ("\"abc \"", "abc "),
        ("' '", " "),
        ("NULL", "NULL"),
    ] {
        let auth = format!("auth: {{enabled: true, user: 0123, password: {written}}}");
        let auth = config_of(&of_module("httpserver", &auth)).modules.httpserver.unwrap().auth.unwrap();
        assert_eq!((auth.user.as_str(), auth.password.as_str()), ("0123", expected), "{written}");
    }
    for written in ["~", "null", "", "''"] {
        let auth = format!("auth: {{enabled: true, user: a, password: {written}}}");
        assert!(problems_of(&of_module("httpserver", &auth))[0].contains("auth.password: is missing"), "{written}");
    }
}

#[test]
fn every_line_names_file_and_line() {
    let files = Files::new(&[
        ("top.yaml", "gorgone: !include a.yaml\n"),
        ("a.yaml", "gorgonecore:\n  id: one\n  # a comment\n  privkye: x\nmodules:\n  - name: proxy\n    package: x\n"),
    ]);
    assert_eq!(
        files.placed(&files.load("top.yaml").unwrap_err()),
        ["a.yaml:2: gorgonecore.id: is 'one'; allowed: a whole number from 1 to 18446744073709551615"]
    );
    files.write("a.yaml", b"gorgonecore:\n  id: 1\n  # a comment\n  privkye: x\n");
    let config = files.config("top.yaml");
    assert_eq!(
        files.placed(&config.warnings),
        ["a.yaml:4: gorgonecore.privkye: unknown key, ignored; is 'privkey' meant?"]
    );
}

#[test]
fn keys_beside_their_place_are_told_where_they_belong() {
    for (text, expected) in [
        ("gorgone: {module: []}\n", "c.yaml: gorgone.module: unknown key, ignored; is 'modules' meant?"),
        (
            "configuration: {gorgone: {}, modules: []}\n",
            "c.yaml: configuration.modules: unknown key, ignored; it belongs to 'gorgone'",
        ),
        ("gorgone: {}\ngorgonecore: {id: 1}\n", "c.yaml: gorgonecore: unknown key, ignored; it belongs to 'gorgone'"),
        (
            "gorgone: {gorgonecore: {command_timeout: 5}}\n",
            "c.yaml: gorgonecore.command_timeout: unknown key, ignored; it belongs to the module 'action'",
        ),
    ] {
        assert_eq!(warnings_of(text), [expected], "{text}");
    }
}

#[test]
fn an_enabled_module_that_is_not_here_is_an_error_that_says_what_does_not_work() {
    let text =
        "gorgone:\n  modules:\n    - {name: s, package: 'gorgone::modules::plugins::scom::hooks', enable: true}\n";
    let config = config_of(text);
    let [line] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
    assert!(line.is_error && line.line == 3, "{line:?}");
    assert!(line.text.contains("alerts of SCOM are not collected"), "{line}");
    let text = of_module("proxy", "ping: 60").replace("core::proxy", "core::prxoy");
    let config = config_of(&text);
    assert!(config.warnings[0].is_error, "{:?}", config.warnings);
    assert!(
        config.warnings[0].text.contains("is 'gorgone::modules::core::proxy::hooks' meant"),
        "{:?}",
        config.warnings
    );
}

#[test]
fn a_boolean_that_the_original_takes_otherwise_is_pointed_out() {
    for (written, is_loaded, is_told) in [
        ("true", true, false),
        ("'true'", true, false),
        ("1", true, false),
        ("no", false, true),
        ("False", false, true),
    ] {
        let text = of_module("engine", "timeout: 5").replace("core::engine", "centreon::engine");
        let text = text.replace("enable: true", &format!("enable: {written}"));
        let config = config_of(&text);
        assert_eq!(config.modules.engine.is_some(), is_loaded, "{written}");
        assert_eq!(
            config.warnings.iter().any(|line| line.text.contains("the original takes it for")),
            is_told,
            "{written}"
        );
    }
    let warnings = warnings_of(&of_module("action", "whitelist_cmds: yes\nallowed_cmds: ['^id$']"));
    assert_eq!(
        warnings,
        ["c.yaml: modules[action].whitelist_cmds: is 'yes' and read as true; the original takes it for false; write \
             'true', which both read alike"]
    );
}

#[test]
fn a_cron_job_whose_command_is_a_map_is_pointed_out() {
    let job = "cron: [{id: a, timespec: '* * * * *', action: COMMAND, parameters: {command: date}}]";
    let warnings = warnings_of(&of_module("cron", job));
    assert!(warnings[0].contains("cron[0].parameters: is a map, so each run will fail"), "{warnings:?}");
    let job = job.replace("{command: date}", "[{command: date}]").replace("* * * * *", "* * * * * */10");
    assert_eq!(warnings_of(&of_module("cron", &job)), [""; 0]);
}

#[test]
fn a_tilde_is_the_home_of_the_user() {
    let files = Files::new(&[
        ("c.yaml", &of_module("register", "config_file: nodes.yaml")),
        (
            "nodes.yaml",
            "nodes:\n  - {id: 2, type: push_ssh, address: a, ssh_identity: ~/.ssh/key, ssh_directory: ssh}\n",
        ),
    ]);
    let config = files.config("c.yaml");
    let nodes = config.modules.register.unwrap().nodes;
    let NodeKind::PushSsh(target) = &nodes[0].kind else { panic!("{nodes:?}") };
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    assert_eq!(target.identity, Some(home.join(".ssh/key")));
    assert_eq!(target.directory, Some(files.0.join("ssh")));
    files.write("nodes.yaml", b"nodes:\n  - {id: 2, type: push_ssh, address: a, ssh_identity: ~root/key}\n");
    assert!(files.problems("c.yaml")[0].contains("other users have no short form"), "{:?}", files.problems("c.yaml"));
}
