//! `!include`: where it looks, how results merge, and what stops it.

use super::*;

const MODULES: &str = "gorgone: {modules: !include ";

#[test]
fn an_include_may_stand_at_any_value_and_its_lists_are_joined_in_order() {
    let entry =
        |name: &str| format!("- {{name: {name}, package: 'gorgone::modules::core::{name}::hooks', enable: true}}\n");
    let files = Files::new(&[
        ("top.yaml", &format!("{MODULES}'m.d/*.yaml, last.yaml'}}")),
        ("m.d/20.yaml", &entry("proxy")),
        ("m.d/10.yaml", &entry("action").replace('}', ", copy_roots: [/etc/centreon-engine]}")),
        ("m.d/.hidden.yaml", "- {name: x, package: x, enable: true}\n"),
        ("m.d/10.yaml.bak", "broken: [\n"),
        ("last.yaml", &entry("proxy")),
    ]);
    let config = files.config("top.yaml");
    assert_eq!(config.modules.loaded.keys().collect::<Vec<_>>(), ["action", "dbcleaner", "proxy"]);
    assert_eq!(
        files.lines(&config.warnings),
        ["last.yaml: modules[proxy]: Package 'gorgone::modules::core::proxy::hooks' already loaded; the first \
                entry counts"]
    );
}

#[test]
fn a_later_file_wins_and_a_wrong_value_names_the_file_that_said_it() {
    let files = Files::new(&[
        ("top.yaml", "configuration: !include d/*.yaml\n"),
        ("d/1.yaml", "gorgone: {gorgonecore: {id: 1, timeout: 5, hostname: one}}\n"),
        ("d/2.yaml", "gorgone: {gorgonecore: {id: 2, timeout: soon}}\n"),
        ("d/3.yaml", "gorgone:\n"),
    ]);
    assert_eq!(
        files.problems("top.yaml"),
        ["d/2.yaml: gorgonecore.timeout: is 'soon'; allowed: a number of seconds from 1 to 86400"]
    );
    files.write("d/2.yaml", b"gorgone: {gorgonecore: {id: 2}}\n");
    let core = files.config("top.yaml").core;
    assert_eq!((core.id.map(|id| id.get()), core.timeout.as_secs(), core.hostname.as_str()), (Some(2), 5, "one"));
}

#[test]
fn files_that_a_star_catches_and_that_hold_something_else_add_nothing() {
    let files = Files::new(&[
        ("top.yaml", "configuration: !include d/*.yaml\n"),
        ("d/00-list.yaml", "- id: date\n"),
        ("d/10-register.yaml", "nodes:\n  - {id: 4, type: pull}\n"),
        ("d/20-empty.yaml", "# nothing\n"),
        ("d/30-core.yaml", "gorgone: {gorgonecore: {id: 3}}\n"),
        ("d/40-text.yaml", "just words\n"),
    ]);
    assert_eq!(files.config("top.yaml").core.id.map(|id| id.get()), Some(3));
    assert_eq!(
        files.warnings("top.yaml"),
        [
            "d/00-list.yaml: holds a list where 'configuration' needs a map; left out",
            "d/40-text.yaml: holds a single value where 'configuration' needs a map; left out",
        ]
    );
    files.write("top.yaml", b"configuration: !include d/30-core.yaml,d/00-list.yaml\n");
    assert_eq!(files.problems("top.yaml"), ["d/00-list.yaml: holds a list where 'configuration' needs a map"]);
}

#[test]
fn a_star_that_catches_nothing_is_a_warning_and_a_missing_file_a_problem() {
    let files = Files::new(&[(
        "top.yaml",
        "configuration: {gorgone: {gorgonecore: {id: 1}, modules: !include none.d/*.yaml, tpapi: !include '?.yaml'}}\n",
    )]);
    let relative = "relative to the directory of the file that includes";
    assert_eq!(
        files.warnings("top.yaml"),
        [
            format!(
                "top.yaml: configuration.gorgone.modules: '!include none.d/*.yaml' finds no file; there is no \
                 directory none.d; {relative}"
            ),
            format!("top.yaml: configuration.gorgone.tpapi: '!include ?.yaml' finds no file; {relative}"),
        ]
    );
    files.write("top.yaml", b"configuration: !include none.yaml\n");
    assert_eq!(files.problems("top.yaml")[0], "top.yaml: configuration: '!include': there is no file none.yaml");
    assert_eq!(files.problems("other.yaml"), ["other.yaml: cannot be read: there is no such file"]);
}

#[test]
fn a_circle_of_includes_is_shown_as_a_chain() {
    let files = Files::new(&[
        ("top.yaml", "configuration: !include d/a.yaml\n"),
        ("d/a.yaml", "gorgone: !include b.yaml\n"),
        ("d/b.yaml", "gorgonecore: !include ../d/a.yaml\n"),
    ]);
    assert_eq!(
        files.problems("top.yaml"),
        ["d/b.yaml: configuration.gorgone.gorgonecore: '!include' is circular: d/a.yaml -> d/b.yaml -> \
                d/../d/a.yaml"]
    );
    files.write("top.yaml", b"configuration: !include '*.yaml'\n");
    assert_eq!(files.problems("top.yaml")[0], "top.yaml: configuration: '!include' is circular: top.yaml -> top.yaml");
}

#[test]
fn depth_size_and_sort_of_files_are_bounded() {
    let files = Files::new(&[]);
    for level in 0..30 {
        files.write(&format!("{level}.yaml"), format!("a: !include {}.yaml\n", level + 1).as_bytes());
    }
    let problems = files.problems("0.yaml");
    assert_eq!(problems.iter().filter(|line| line.contains("more than 16 deep")).count(), 1, "{problems:?}");
    files.write("huge.yaml", &vec![b'#'; 9 << 20]);
    assert_eq!(files.problems("huge.yaml"), ["huge.yaml: is too big: all files together may hold 8388608 bytes"]);
    assert_eq!(
        files.problems(""),
        [format!("{}/: is a directory, not a file", files.0.display()).replace(&format!("{}/", files.0.display()), "")]
    );
    files.write("device.yaml", b"configuration: !include /dev/zero\n");
    assert_eq!(
        files.problems("device.yaml")[0],
        "device.yaml: configuration: '!include': the file /dev/zero is not a regular file"
    );
}

#[test]
fn broken_files_are_all_reported_with_their_place() {
    let files = Files::new(&[
        ("top.yaml", "configuration: !include d/*.yaml\n"),
        ("d/1.yaml", "gorgone:\n\tgorgonecore:\n\t\tid: 1\n"),
        ("d/2.yaml", "gorgone: {gorgonecore: {timeout: x}}\n"),
        ("d/4.yaml", "gorgone: [1, 2\nid: 3\n"),
        ("d/5.yaml", "gorgone: {gorgonecore: !vault x}\n"),
        ("d/6.yaml", "gorgone: {gorgonecore: !include {a: 1}}\n"),
    ]);
    files.write("d/3.yaml", b"\x7fELF\x02\x01\x01\0\0\xff\xfe");
    let problems = files.placed(&files.load("top.yaml").unwrap_err());
    for (place, expected) in [
        "d/1.yaml:2: column 1: the indentation contains a tab; YAML allows only spaces there",
        "d/3.yaml:1: this is not UTF-8 text; save the file as UTF-8",
        "d/4.yaml:2: column 3: this is not valid YAML: illegal placement of ':' indicator",
        "d/5.yaml:1: configuration.gorgone.gorgonecore: the tag '!vault' is unknown; only '!include' is",
        "d/6.yaml:1: configuration.gorgone.gorgonecore: '!include' needs a path, or several with commas between them",
        "d/2.yaml:1: gorgonecore.timeout: is 'x'; allowed: a number of seconds from 1 to 86400",
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(problems.get(place).map(String::as_str), Some(*expected), "{problems:#?}");
    }
}

#[test]
fn a_password_that_everyone_can_read_is_a_warning() {
    let files = Files::new(&[("c.yaml", "gorgone: {tpapi: [{name: clapi, password: x}]}\n")]);
    assert_eq!(files.warnings("c.yaml"), Vec::<String>::new());
    fs::set_permissions(files.0.join("c.yaml"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        files.warnings("c.yaml"),
        ["c.yaml: holds 'password' and every user can read it (mode 0644); chmod o-rwx c.yaml"]
    );
}

#[test]
fn an_include_of_what_is_no_file_names_the_line_that_includes_it() {
    let files = Files::new(&[("top.yaml", "gorgone:\n  gorgonecore: {id: 1}\n  modules: !include things\n")]);
    fs::create_dir(files.0.join("things")).unwrap();
    let placed = |files: &Files| {
        let lines = files.placed(&files.load("top.yaml").expect_err("the configuration is fine"));
        lines.into_iter().next().unwrap_or_default().replace(&format!("{}/", files.0.display()), "")
    };
    assert_eq!(placed(&files), "top.yaml:3: gorgone.modules: '!include': the file things is a directory, not a file");
    fs::remove_dir(files.0.join("things")).unwrap();
    let pipe = std::ffi::CString::new(files.0.join("things").into_os_string().into_encoded_bytes()).unwrap();
    assert!(
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0
        )
        .is_ok()
    );
    assert_eq!(placed(&files), "top.yaml:3: gorgone.modules: '!include': the file things is not a regular file");
}
