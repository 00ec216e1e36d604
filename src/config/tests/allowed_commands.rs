//! The allow-list of the module action, and the messages about it.

use super::*;

fn action(lines: &str) -> String {
    format!(
        "gorgone:\n  modules:\n    - name: action\n      package: gorgone::modules::core::action::hooks\n      \
            enable: true\n      {lines}\n"
    )
}

#[test]
fn expressions_that_do_not_compile_or_say_nothing_are_problems() {
    let text = "whitelist_cmds: true\n      allowed_cmds: ['^ok$', '^a(b', '', ~, {a: b}, '(?{ 1 })']";
    let problems = problems_of(&action(text));
    assert_eq!(
        problems[..4],
        [
            "c.yaml: modules[action].allowed_cmds[1]: '^a(b': does not compile at character 5: missing closing \
                parenthesis",
            "c.yaml: modules[action].allowed_cmds[2]: is empty and would allow every command; remove it",
            "c.yaml: modules[action].allowed_cmds[3]: is empty and would allow every command; remove it",
            "c.yaml: modules[action].allowed_cmds[4]: is a map; allowed: a regular expression",
        ]
    );
    assert!(problems[4].contains("'(?{ 1 })': does not compile"), "{problems:?}");
    let text = "whitelist_cmds: true\n      allowed_cmds: '^ok$'\n      whitelist_mode: log";
    assert_eq!(
        problems_of(&action(text)),
        [
            "c.yaml: modules[action].whitelist_mode: is 'log'; allowed: enforce or audit",
            "c.yaml: modules[action].allowed_cmds: is a single value; allowed: a list, each entry beginning with '- '",
        ]
    );
}

#[test]
fn a_list_that_nobody_reads_may_hold_anything() {
    assert!(config_of(&action("allowed_cmds: ['^a(b']")).modules.action.unwrap().allowed.is_none());
    assert_eq!(
        warnings_of(&action("whitelist_mode: audit")),
        ["c.yaml: modules[action].whitelist_mode: has no effect, because 'whitelist_cmds' is not true"]
    );
}

#[test]
fn an_empty_list_and_audit_are_pointed_out() {
    let warnings = warnings_of(&action("whitelist_cmds: 1"));
    assert!(warnings[0].contains("so every command is refused"), "{warnings:?}");
    let text = "whitelist_cmds: true\n      whitelist_mode: audit\n      allowed_cmds: ['^uptime$']";
    let warnings = warnings_of(&action(text));
    assert!(warnings.len() == 1 && warnings[0].contains("whitelist_mode: is audit"), "{warnings:?}");
    let allowed = config_of(&action(text)).modules.action.unwrap().allowed.unwrap();
    assert!(allowed.is_audit && allowed.list.len() == 1);
}

#[test]
fn holes_are_pointed_out_with_a_command_that_gets_through() {
    let text =
        "whitelist_cmds: true\n      allowed_cmds: ['^mkdir', '^/opt/plugins/.*$', '^cat [\\s\\w]+ >> /x$', '(?=a)b']";
    let at = "c.yaml: modules[action].allowed_cmds";
    assert_eq!(
        warnings_of(&action(text)),
        [
            format!(
                "{at}[0]: '^mkdir' is not anchored: with a shell it also allows “mkdir; id”; begin it with ^ and end \
                    it with $"
            ),
            format!(
                "{at}[1]: '^/opt/plugins/.*$' also allows further commands of a shell, for instance “/opt/plugins/; id”; \
                    name the \
                 characters that an argument may have"
            ),
            format!(
                "{at}[2]: '^cat [\\s\\w]+ >> /x$' also allows further commands of a shell, for instance “cat a\\nid\\na >> \
                    /x”; name \
                 the characters that an argument may have"
            ),
            format!("{at}[3]: '(?=a)b' is not anchored: begin it with ^ and end it with $"),
        ]
    );
}

#[test]
fn included_lists_are_joined_in_the_order_of_their_names() {
    let files = Files::new(&[
        ("c.yaml", &action("whitelist_cmds: true\n      allowed_cmds: !include list.d/*.yaml")),
        ("list.d/centreon.yaml", "# comment\n- ^sudo\\s+systemctl\\s+reload\\s+cbd\\s*$\n- ^uptime$\n"),
        ("list.d/own.yaml", "- ^true$\n- '^say \\\"[a-z]+\\\"$'\n- ^x(\n"),
    ]);
    assert_eq!(
        files.problems("c.yaml"),
        ["list.d/own.yaml: modules[action].allowed_cmds[4]: '^x(': does not compile at character 4: missing \
                closing parenthesis"]
    );
    files.write("list.d/own.yaml", b"- ^true$\n");
    assert_eq!(files.config("c.yaml").modules.action.unwrap().allowed.unwrap().list.len(), 3);
}
