//! Generates completion scripts for shells from the help pages.

use super::help::Topic;
use super::pages::{CommandOption, CommandPage, command};

/// A supported shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The values of `--severity`.
const LEVELS: &str = "debug info warning error";

impl Shell {
    /// The names of all shells.
    pub(super) const NAMES: [&'static str; 3] = ["bash", "zsh", "fish"];

    /// Returns the shell called `name`.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "bash" => Some(Self::Bash),
            "zsh" => Some(Self::Zsh),
            "fish" => Some(Self::Fish),
            _ => None,
        }
    }

    /// Returns the completion script.
    pub(super) fn completions(self) -> String {
        let commands: Vec<CommandPage<'static>> = Topic::NAMES.iter().copied().map(described).collect();
        match self {
            Self::Bash => bash(&commands),
            Self::Zsh => zsh(&commands),
            Self::Fish => fish(&commands),
        }
    }
}

/// Returns the page of a command. The words of `help` are the other commands, those of `completions` the shells.
fn described(name: &'static str) -> CommandPage<'static> {
    let mut page = command(name);
    match name {
        "help" => page.words = Topic::NAMES.to_vec(),
        "completions" => page.words = Shell::NAMES.to_vec(),
        _ => {}
    }
    page
}

/// Whether an option is followed by the name of a file or directory.
fn takes_path(option: &CommandOption<'_>) -> bool {
    matches!(option.value, "FILE" | "DIR")
}

fn names(options: &[CommandOption<'_>], wanted: impl Fn(&CommandOption<'_>) -> bool) -> Vec<String> {
    options.iter().filter(|option| wanted(option)).map(|option| option.name.to_owned()).collect()
}

fn bash(commands: &[CommandPage<'_>]) -> String {
    let every: Vec<CommandOption<'_>> = commands.iter().flat_map(|page| page.options.iter().cloned()).collect();
    let pattern = |mut names: Vec<String>| {
        names.sort_unstable();
        names.dedup();
        // A pattern is required here; this one never precedes a word.
        if names.is_empty() { "--".to_owned() } else { names.join("|") }
    };
    let mut cases = String::new();
    for page in commands {
        let mut words: Vec<String> = page.words.iter().map(|word| (*word).to_owned()).collect();
        words.extend(names(&page.options, |_| true));
        let files = if page.takes_path { " files=yes" } else { "" };
        cases.push_str(&format!("        {}) words='{}'{files} ;;\n", page.name, words.join(" ")));
    }
    let all: Vec<&str> = commands.iter().map(|page| page.name).collect();
    format!(
        "# bash completion of stheno; made by 'stheno completions bash'.
_stheno() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} words='' files=''
    COMPREPLY=()
    case $previous in
        {paths}) mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); return ;;
        --severity) mapfile -t COMPREPLY < <(compgen -W '{LEVELS}' -- \"$current\"); return ;;
        {others}) return ;;
    esac
    if [ \"$COMP_CWORD\" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W '{all} --help --version' -- \"$current\")
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}    esac
    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")
    if [ -n \"$files\" ] && [ \"${{current#-}}\" = \"$current\" ]; then
        mapfile -t -O \"${{#COMPREPLY[@]}}\" COMPREPLY < <(compgen -f -- \"$current\")
    fi
}}
complete -o filenames -F _stheno stheno
",
        paths = pattern(names(&every, takes_path)),
        others = pattern(names(&every, |option| {
            !takes_path(option) && !option.value.is_empty() && option.name != "--severity"
        })),
        all = all.join(" "),
    )
}

fn zsh(commands: &[CommandPage<'_>]) -> String {
    let mut cases = String::new();
    for page in commands {
        let mut specs = String::new();
        for option in &page.options {
            let action = match option.value {
                "" => String::new(),
                value if takes_path(option) => format!(":{value}:_files"),
                "LEVEL" => format!(":LEVEL:({LEVELS})"),
                value => format!(":{value}:"),
            };
            let text = option.text.replace(['[', ']', ':', '\''], "");
            specs.push_str(&format!(" '{}[{text}]{action}'", option.name));
        }
        if !page.words.is_empty() {
            specs.push_str(&format!(" '1:word:({})'", page.words.join(" ")));
        }
        if page.takes_path {
            specs.push_str(" '*:file:_files'");
        }
        cases.push_str(&format!("        {}) _arguments{specs} ;;\n", page.name));
    }
    let all: Vec<&str> = commands.iter().map(|page| page.name).collect();
    format!(
        "#compdef stheno
# zsh completion of stheno; made by 'stheno completions zsh'.
_stheno() {{
    local -a commands
    commands=({all})
    if (( CURRENT == 2 )); then
        _alternative 'commands:command:('\"$commands\"')' 'options:option:(--help --version)'
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT -= 1 ))
    case $command in
{cases}    esac
}}
_stheno \"$@\"
",
        all = all.join(" "),
    )
}

fn fish(commands: &[CommandPage<'_>]) -> String {
    let all: Vec<&str> = commands.iter().map(|page| page.name).collect();
    let mut script = format!(
        "# fish completion of stheno; made by 'stheno completions fish'.
complete -c stheno -n __fish_use_subcommand -f -a '{}'
complete -c stheno -n __fish_use_subcommand -l help -l version
",
        all.join(" ")
    );
    for page in commands {
        let seen = format!("complete -c stheno -n '__fish_seen_subcommand_from {}'", page.name);
        if !page.takes_path {
            script.push_str(&format!("{seen} -f\n"));
        }
        if !page.words.is_empty() {
            script.push_str(&format!("{seen} -a '{}'\n", page.words.join(" ")));
        }
        for option in &page.options {
            let value = match option.value {
                "" => String::new(),
                _ if takes_path(option) => " -r -F".to_owned(),
                "LEVEL" => format!(" -x -a '{LEVELS}'"),
                _ => " -x".to_owned(),
            };
            let name = option.name.trim_start_matches('-');
            let text = option.text.replace(['\\', '\''], "");
            script.push_str(&format!("{seen} -l {name}{value} -d '{text}'\n"));
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_in_every_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = shell.completions();
            for name in Topic::NAMES.iter().copied() {
                assert!(script.contains(name), "{shell:?}: {name}");
                for option in command(name).options {
                    assert!(script.contains(option.name.trim_start_matches('-')), "{shell:?}: {name} {}", option.name);
                }
            }
            assert!(script.contains(LEVELS), "{shell:?}");
        }
    }

    #[test]
    fn words_and_places_are_read_off_the_forms() {
        let keys = command("keys");
        assert_eq!(
            keys.words,
            ["generate", "thumbprint", "hash-password", "hash-token", "new-token", "forget", "trust", "rotate"]
        );
        assert!(keys.takes_path);
        let run = command("run");
        assert!(run.words.is_empty() && !run.takes_path);
        assert!(run.options.iter().any(|option| option.name == "--config" && option.value == "FILE"));
    }

    #[test]
    fn bash_completes_a_command_an_option_and_a_level() {
        for (line, expected) in
            [("stheno che", "check"), ("stheno run --sev", "--severity"), ("stheno run --severity w", "warning")]
        {
            let words: Vec<&str> = line.split(' ').collect();
            let script = format!(
                "{}\nCOMP_WORDS=({line}); COMP_CWORD={}; _stheno; printf '%s' \"${{COMPREPLY[*]}}\"",
                Shell::Bash.completions(),
                words.len() - 1
            );
            let output = std::process::Command::new("bash").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{line}: {output:?}");
        }
    }
}
