//! Fenced blocks can be used as they are.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use webhook_tests::binaries::{self, workspace};
use webhook_tests::documents::{Block, blocks, documents};

use crate::command_line::{self, TARGETS};

/// Programs that commands of the documents begin with, besides the controller and make.
const PROGRAMS: [&str; 13] = [
    "kubectl",
    "helm",
    "grpcurl",
    "cp",
    "$EDITOR",
    "export",
    "sleep",
    "until",
    "cmctl",
    "certs/make-dev-certs.sh",
    "cargo",
    "authority",
    "bundle",
];
/// Languages whose blocks are looked at here, or that a test of their own compares with what it runs.
const LANGUAGES: [&str; 7] = ["sh", "console", "yaml", "json", "go", "go.mod", "text"];

fn all() -> Vec<(String, Block)> {
    let documents = documents().into_iter();
    documents
        .flat_map(|document| blocks(&document.text).into_iter().map(move |block| (document.path.clone(), block)))
        .collect()
}

/// The commands of a block, each on one line; the output of a console is left out.
fn commands(block: &Block) -> Vec<String> {
    let joined = block.text.replace("\\\n", " ");
    let mut commands: Vec<String> = Vec::new();
    let mut in_quotes = false;
    for line in joined.lines() {
        if in_quotes {
            let command = commands.last_mut().expect("a command first");
            *command += " ";
            *command += line;
        } else if block.language == "sh" {
            commands.push(line.trim().to_owned());
        } else if let Some(command) = line.strip_prefix("$ ") {
            commands.push(command.to_owned());
        } else {
            continue;
        }
        let open = commands.last().expect("the command");
        in_quotes = open.matches('\'').count() % 2 == 1 || open.replace("\\\"", "").matches('"').count() % 2 == 1;
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// What is wrong with a command, if anything is.
fn wrong(command: &str) -> Option<String> {
    let command = command.split(" #").next().unwrap_or_default();
    let words: Vec<&str> = command.split_whitespace().collect();
    match words[..] {
        ["make", ref rest @ ..] => {
            let mut targets = rest.iter().filter(|word| !word.contains('='));
            targets.find(|target| !TARGETS.contains(**target)).map(|target| format!("no target {target:?}"))
        }
        ["atomix-controller", ref rest @ ..] => command_line::wrong(rest),
        ["kubectl", ..] => {
            let files = words.windows(2).filter(|pair| matches!(pair[0], "-f" | "-k")).map(|pair| pair[1]);
            let mut files = files.filter(|file| file.contains('/') && *file != "kustomize/team-a");
            files.find(|file| !workspace().join(file).exists()).map(|file| format!("no file {file:?}"))
        }
        [program, ..] => {
            let name = program.split('=').next().unwrap_or_default();
            let is_known = PROGRAMS.contains(&name) || workspace().join(name).is_file();
            (!is_known).then(|| format!("unknown program {name:?}"))
        }
        [] => None,
    }
}

#[test]
fn every_command_has_programs_targets_files_and_flags_that_exist() {
    let mut problems = Vec::new();
    for (path, block) in all().into_iter().filter(|(_, block)| ["sh", "console"].contains(&block.language.as_str())) {
        for command in commands(&block) {
            problems.extend(wrong(&command).map(|why| format!("{path}: {command}: {why}")));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_block_has_a_language_that_a_test_looks_at() {
    for (path, block) in all() {
        assert!(LANGUAGES.contains(&block.language.as_str()), "{path}: ```{}", block.language);
    }
}

#[test]
fn every_set_is_valid_and_every_other_block_of_yaml_and_json_can_be_read() {
    for (path, block) in all() {
        match block.language.as_str() {
            "yaml" if block.text.contains("kind: PartitionSet") => assert_is_valid(&path, &block.text),
            "yaml" => {
                drop(serde_saphyr::from_str::<Value>(&block.text).unwrap_or_else(|error| panic!("{path}: {error}")));
            }
            "json" => {
                drop(serde_json::from_str::<Value>(&block.text).unwrap_or_else(|error| panic!("{path}: {error}")));
            }
            _ => {}
        }
    }
}

/// The output of `validate` of a text, and whether it is valid.
fn validate(text: &str) -> (bool, String) {
    let mut command = Command::new(binaries::controller().expect("a controller"));
    let command = command.args(["validate", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().expect("the controller");
    running.stdin.take().expect("its input").write_all(text.as_bytes()).expect("a text");
    let output = running.wait_with_output().expect("its end");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn assert_is_valid(path: &str, text: &str) {
    let (is_valid, said) = validate(text);
    assert!(is_valid, "{path}: {said}");
    // One that names a file is that file.
    let file =
        text.strip_prefix("# ").and_then(|rest| rest.split(':').next()).filter(|name| name.starts_with("deploy/"));
    if let Some(file) = file {
        let kept = fs::read_to_string(workspace().join(file)).expect("a file");
        let without_comments =
            |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert_eq!(without_comments(text), without_comments(&kept), "{path}: {file}");
    }
}

#[test]
fn the_first_rejection_is_what_the_program_says() {
    let bad = "apiVersion: k8s.atomix.io/v1alpha1\nkind: PartitionSet\nmetadata: {name: raft}\n\
               spec: {partitions: 0, template: {spec: {protocol: paxos, size: -1, config: 'electionTimout: 5s'}}}\n";
    let (is_valid, said) = validate(bad);
    assert!(!is_valid);
    let shown = all().into_iter().filter(|(_, block)| block.text.contains("bad.yaml"));
    let lines = shown
        .flat_map(|(path, block)| block.text.lines().map(|line| (path.clone(), line.to_owned())).collect::<Vec<_>>());
    let lines: Vec<_> = lines.filter(|(_, line)| line.starts_with("* ")).collect();
    assert_eq!(lines.len(), 8);
    for (path, line) in lines {
        assert!(said.contains(line.trim_start_matches("* ")), "{path}: {line}\n{said}");
    }
}

#[test]
fn a_command_that_cannot_be_run_is_found() {
    for bad in ["make coffee", "atomix-controller run --speed=2", "kubectl create -f deploy/none.yaml", "rm -r x"] {
        assert!(wrong(bad).is_some(), "{bad}");
    }
    let block = Block { language: "console".to_owned(), text: "$ a 'b\n  c' \\\n  d\nprinted\n$ e\n".to_owned() };
    assert_eq!(commands(&block), ["a 'b   c'    d", "e"]);
}
