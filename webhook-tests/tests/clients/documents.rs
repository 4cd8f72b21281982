//! What the documents print for authors of clients does what they say.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use webhook_tests::documents::{self, document};
use webhook_tests::{binaries, loopback_address, suffix};

use crate::nodes;
use crate::pod::Pod;
use crate::support::{HOST, SOON, cluster, default_namespace, file, run};

const EXAMPLE: &str = "webhook-tests/clients/atomix-2020/example/main.go";

/// The pages for authors of clients.
const PAGES: [&str; 2] = ["docs/atomix-api.md", "docs/elections.md"];

/// The texts of the blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let blocks = PAGES.iter().flat_map(|page| documents::blocks(&document(page)));
    blocks.filter(|block| block.language == language).map(|block| block.text).collect()
}

/// The commands of a terminal's text, each with what it printed. A command goes on where a quote is open or the line
/// ends with a backslash.
fn commands(terminal: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in terminal.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command.to_owned(), String::new()));
        } else {
            let (command, printed) = commands.last_mut().expect("a command first");
            let text = if open { command } else { printed };
            *text += if open { "\n" } else { "" };
            *text += line;
            *text += if open { "" } else { "\n" };
            if !open {
                continue;
            }
        }
        let command = commands.last().map_or("", |(command, _)| command);
        open = command.ends_with('\\') || command.matches('\'').count() % 2 == 1;
    }
    commands
}

/// Runs the commands that begin with one of these words, in their order, and compares what they print. Returns how many
/// there were.
#[track_caller]
fn tried(words: &[&str], mut run: impl FnMut(&str, &str) -> String) -> usize {
    let blocks = blocks("console");
    let commands = blocks.iter().flat_map(|block| commands(block));
    let mut tried = 0;
    for (command, printed) in commands.filter(|(command, _)| words.iter().any(|word| command.starts_with(word))) {
        assert_eq!(run(&command, &printed), printed, "{command}");
        tried += 1;
    }
    tried
}

/// A directory with the commands of the documents, as they assume them: the API is at port 5679 of localhost, as with the
/// port that kubectl forwards.
fn commands_of_the_documents() -> PathBuf {
    let grpcurl = binaries::grpcurl().expect("grpcurl");
    let pod = Pod::new("documents", &[grpcurl], &[(cluster().address, "localhost")]);
    let controller = binaries::controller().expect("the controller").display();
    let bin = cluster().control_plane.dir().join(format!("documents-{}", suffix()));
    fs::create_dir(&bin).expect("a directory");
    for (name, script) in [
        // The first is for a stream that never tells anything.
        ("grpcurl", format!("exec {} -max-time 100 \"$@\"", pod.words("grpcurl").join(" "))),
        ("atomix-controller", format!("ATOMIX_CONTROLLER={} exec {controller} \"$@\"", cluster().server())),
    ] {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    bin
}

/// A shell that finds the commands of a directory first, and runs there.
fn shell(bin: &Path, command: &str) -> Command {
    let path = format!("{}:{}", bin.display(), env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("PATH", path).current_dir(bin);
    shell
}

#[test]
fn the_commands_print_what_the_documents_say() {
    let (_alone, _kubectl) = default_namespace();
    let bin = commands_of_the_documents();
    fs::write(bin.join("options.yaml"), "electionTimeout: 5s\n").expect("a file");
    let tried = tried(&["grpcurl ", "atomix-controller "], |command, printed| {
        if command.contains("EnterElection") { printed.to_owned() } else { run(&mut shell(&bin, command)) }
    });
    assert!(tried >= 8, "only {tried} commands");
}

#[test]
fn an_election_begins_as_the_documents_say() {
    let (_alone, kubectl) = default_namespace();
    let bin = commands_of_the_documents();
    kubectl.create_stdin(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {name: events}\n\
         spec: {template: {spec: {protocol: log, size: 3}}}\n",
    );
    kubectl.wait_until(&["partition", "events-1"], SOON, |partitions| !partitions.is_empty());
    let mut elections = 0;
    tried(&["grpcurl "], |command, printed| {
        if !command.contains("EnterElection") {
            return printed.to_owned();
        }
        elections += 1;
        // The stream goes on; only what the documents print of it is awaited.
        let mut stream = shell(&bin, &format!("exec {command}")).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut begun = vec![0; printed.len()];
        let read = stream.stdout.take().expect("its output").read_exact(&mut begun);
        let _ = (stream.kill(), stream.wait());
        read.unwrap_or_else(|error| panic!("{command}: {error}"));
        String::from_utf8_lossy(&begun).into_owned()
    });
    assert_eq!(elections, 1);
    kubectl.ok(&["delete", "partitionset", "events"]);
}

#[test]
fn the_go_example_locks_and_unlocks() {
    assert_eq!(blocks("go"), [file(EXAMPLE)], "{EXAMPLE}");
    // What it needs is what it is built with here.
    let module = file("webhook-tests/clients/atomix-2020/go.mod");
    let requirements = blocks("go.mod");
    let requirements: Vec<&str> = requirements[0].lines().filter_map(|line| line.strip_prefix('\t')).collect();
    assert_eq!(requirements.len(), 2);
    for requirement in requirements {
        assert!(module.lines().any(|line| line.trim() == requirement), "{requirement}");
    }

    let (_alone, kubectl) = default_namespace();
    let example = binaries::atomix_2020().expect("Atomix of 2020").with_file_name("example");
    let address = loopback_address();
    let hosts = [(cluster().address, HOST), (address, "locks-1.default.svc.cluster.local")];
    let pod = Pod::new("documents-example", &[&example], &hosts);
    let running = pod.command("example").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the example");
    let _node = nodes::start(&kubectl, "locks", binaries::atomix_2020().expect("Atomix of 2020"), address);
    let output = running.wait_with_output().expect("the end of the example");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // Every line begins with the time.
    let said: Vec<&str> = said.lines().filter_map(|line| line.splitn(3, ' ').nth(2)).collect();
    assert!(
        matches!(said[..], ["group locks has 1 partition", locked, "unlocked"] if locked.starts_with("locked, version ")),
        "{said:?}"
    );
    kubectl.ok(&["delete", "partitionset", "locks"]);
}

#[test]
fn commands_may_have_several_lines() {
    let text = "$ one 'a\n  b' \\\n  c\nprinted\n  more\n$ two\n";
    let expected = [("one 'a\n  b' \\\n  c", "printed\n  more\n"), ("two", "")];
    assert_eq!(commands(text), expected.map(|(command, printed)| (command.to_owned(), printed.to_owned())));
}
