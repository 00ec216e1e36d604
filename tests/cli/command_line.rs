//! Wrong words, help pages, and the message of a failed start.

use super::{Folder, stheno, text};

#[test]
fn a_wrong_command_line_gives_one_line_on_standard_error_and_status_2() {
    for line in [
        &[][..],
        &["strat"],
        &["run"],
        &["run", "--config"],
        &["check", "--jsn"],
        &["keys"],
        &["--severity", "loud"],
        &["demo", "--twice"],
        &["copy", "--config", "c", "/etc/hosts"],
        &["exec", "--config", "c", "2"],
    ] {
        let output = stheno(line);
        assert_eq!(output.status.code(), Some(2), "{line:?}");
        assert!(output.stdout.is_empty(), "{line:?}");
        let error = text(&output.stderr);
        assert!(
            error.starts_with("stheno: ") && error.ends_with('\n') && error.lines().count() == 1,
            "{line:?}: {error}"
        );
    }
}

#[test]
fn help_teaches_every_command_with_an_example() {
    let all = stheno(&["--help"]);
    assert_eq!(all.status.code(), Some(0));
    for command in ["run", "check", "keys generate", "keys thumbprint", "demo", "gorgoned --config="] {
        assert!(text(&all.stdout).contains(command), "{command}");
    }
    for command in ["run", "check", "keys", "copy", "exec", "demo"] {
        let page = stheno(&["help", command]);
        assert!(text(&page.stdout).contains("Example"), "{command}");
        assert!(text(&page.stdout).lines().all(|line| line.chars().count() <= 125), "{command}");
        assert_eq!(stheno(&[command, "--help"]).stdout, page.stdout, "{command}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let expected = concat!("stheno ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(text(&stheno(&["--version"]).stdout), expected);
}

#[test]
fn a_start_with_a_broken_configuration_names_every_problem_and_starts_nothing() {
    let folder = Folder::new();
    let database = folder.path("history.sdb");
    let config = folder.write(
        "c.yaml",
        format!(
            "gorgone:\n  gorgonecore:\n    timeout: 0\n    ipv6: perhaps\n    privkey: {0}/k/priv.pem\n    pubkey: {0}/k/pub.pem\n    \
             gorgone_db_name: dbname={1}\n",
            folder.0.display(),
            database.display()
        ),
    );
    let before = folder.contents();
    for arguments in [&["run", "--config", config.to_str().unwrap()][..], &["--config", config.to_str().unwrap()]] {
        let output = stheno(arguments);
        assert_eq!(output.status.code(), Some(78));
        assert_eq!(
            folder.shorten(&output.stderr),
            "stheno: c.yaml:3: gorgonecore.timeout: is '0'; allowed: a number of seconds from 1 to 86400\n\
             stheno: c.yaml:4: gorgonecore.ipv6: is 'perhaps'; allowed: true or false (also 1/0, yes/no, on/off)\n\
             stheno: 2 problems in the configuration; nothing was started\n"
        );
    }
    assert_eq!(folder.contents(), before);
}
