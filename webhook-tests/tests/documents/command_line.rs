//! What `--help` says of the controller, and the targets of `make`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use webhook_tests::binaries::{self, workspace};

/// The flags of each command, by its words: `run`, `groups create`, ...
pub static COMMANDS: LazyLock<BTreeMap<String, BTreeSet<String>>> = LazyLock::new(|| {
    let mut commands = BTreeMap::new();
    read(&[], &mut commands);
    commands
});

/// The targets of the Makefile.
pub static TARGETS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let makefile = fs::read_to_string(workspace().join("Makefile")).expect("a Makefile");
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).expect("its targets");
    targets.split(' ').map(str::to_owned).collect()
});

fn read(words: &[&str], commands: &mut BTreeMap<String, BTreeSet<String>>) {
    let output = Command::new(binaries::controller().expect("a controller")).args(words).arg("--help").output();
    let help = String::from_utf8(output.expect("its help").stdout).expect("UTF-8");
    let mut flags = BTreeSet::new();
    let mut inner = Vec::new();
    let mut in_commands = false;
    for line in help.lines() {
        if !line.starts_with(' ') && !line.is_empty() {
            in_commands = line == "Commands:";
        } else if in_commands {
            // Only the first line of each has its name.
            let name = line.strip_prefix("  ").filter(|line| line.starts_with(char::is_alphabetic));
            inner.extend(name.and_then(|name| name.split(' ').next()).filter(|name| *name != "help"));
        }
        let given = line.trim_start();
        if given.starts_with('-') {
            let words = given.split([' ', ',', '=', '[']).filter(|word| word.starts_with('-'));
            flags.extend(words.map(|word| word.trim_end_matches('.').to_owned()));
        }
    }
    for name in inner {
        read(&[words, &[name]].concat(), commands);
    }
    commands.insert(words.join(" "), flags);
}

/// What is wrong with the words of a command of the controller, if anything is.
pub fn wrong(words: &[&str]) -> Option<String> {
    let mut command = String::new();
    for word in words {
        let longer = format!("{command} {word}").trim().to_owned();
        if COMMANDS.contains_key(&longer) {
            command = longer;
        } else if let Some(flag) = word.split('=').next().filter(|flag| flag.starts_with('-') && flag.len() > 1) {
            if !COMMANDS[&command].contains(flag) {
                return Some(format!("`{command}` has no {flag}"));
            }
        } else if command.is_empty() {
            return Some(format!("no command {word:?}"));
        }
    }
    None
}

#[test]
fn the_help_has_commands_and_their_flags() {
    assert!(COMMANDS["run"].contains("--raft-image"));
    assert!(COMMANDS["groups create"].contains("--protocol"));
    assert_eq!(wrong(&["groups", "list", "-o", "json"]), None);
    assert!(wrong(&["groups", "list", "--colour"]).is_some());
    assert!(wrong(&["sing"]).is_some());
    assert!(TARGETS.contains("demo"));
}

#[test]
fn bash_completes_commands_and_their_flags() {
    let completed = |words: &str, index: usize| {
        let script = format!(
            "source <(\"$0\" completions bash); COMP_WORDS=({words}); COMP_CWORD={index}; \
             set -- $(complete -p atomix-controller); while [ \"$1\" != -F ]; do shift; done; \
             \"$2\" atomix-controller \"${{COMP_WORDS[{index}]}}\" \"${{COMP_WORDS[{index} - 1]}}\"; echo \"${{COMPREPLY[*]}}\""
        );
        let controller = binaries::controller().expect("a controller");
        let output = Command::new("bash").arg("-c").arg(script).arg(controller).output().expect("bash");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    };
    assert_eq!(completed("atomix-controller sta", 1), "status");
    assert_eq!(completed("atomix-controller status --wat", 2), "--watch");
}

#[test]
fn each_command_has_a_manual_page_with_its_flags() {
    let directory = std::env::temp_dir().join(format!("manual-pages-{}", webhook_tests::suffix()));
    fs::create_dir_all(&directory).expect("a directory");
    let controller = binaries::controller().expect("a controller");
    assert!(Command::new(controller).arg("man").arg(&directory).status().expect("a run").success());
    for (words, flags) in COMMANDS.iter() {
        let name = ["atomix-controller", words].join(" ").trim_end().replace(' ', "-");
        let page = fs::read_to_string(directory.join(format!("{name}.1"))).unwrap_or_else(|e| panic!("{name}: {e}"));
        let page = page.replace('\\', "");
        for flag in flags {
            assert!(page.contains(flag), "{name}: {flag}");
        }
    }
    fs::remove_dir_all(&directory).expect("the directory");
}
