//! `make demo`: a Kubernetes control plane on this machine, the controller on
//! it, and a PartitionSet that becomes 18 running pods.
//!
//! It checks everything that it shows, and fails if anything is not as it
//! should be. With `--once` it ends by itself; else it stays until Ctrl-C.

mod check;
mod story;
mod terminal;

use std::process::ExitCode;
use std::sync::mpsc::{self, Sender};
use std::{panic, thread};

use anyhow::{Error, Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};

use crate::story::Cluster;

const USAGE: &str = "usage: demo [--once]

  --once   end after the last step; without it, the cluster stays until Ctrl-C";

/// Exit code of a program that Ctrl-C has ended, as shells count.
const INTERRUPTED: u8 = 128 + 2;

/// What the main thread waits for.
enum Event {
    /// The last step is done, or one of them failed.
    Ended(Box<Result<Cluster>>),
    /// Ctrl-C, or a signal that asks for the same.
    Interrupted,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let once = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--once"] => true,
        ["-h" | "--help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    run(once).unwrap_or_else(|error| failed(&error))
}

fn run(once: bool) -> Result<ExitCode> {
    let (sender, events) = mpsc::channel();
    forward_signals(sender.clone())?;
    thread::spawn(move || {
        let ended = panic::catch_unwind(|| story::tell(once));
        let ended = ended.unwrap_or_else(|_| Err(anyhow!("a step panicked: see above")));
        // The receiver is gone only when the process is about to be.
        let _ = sender.send(Event::Ended(Box::new(ended)));
    });
    // Whatever way is taken from here, all that was started ends with this
    // process, and its directory is removed: see `ControlPlane`.
    let ended = match events.recv()? {
        Event::Ended(ended) => Some(*ended),
        Event::Interrupted => None,
    };
    match ended {
        Some(Ok(cluster)) => {
            if !once {
                while !matches!(events.recv(), Ok(Event::Interrupted) | Err(_)) {}
                println!();
            }
            drop(cluster);
            println!("The cluster is gone, with everything that was in it.");
            Ok(ExitCode::SUCCESS)
        }
        // Ctrl-C reaches every process of the terminal: that it ended a kubectl
        // may be received first.
        Some(Err(error)) if events.try_recv().is_err() => Ok(failed(&error)),
        Some(Err(_)) | None => {
            eprintln!("\nDemo interrupted. What it started is being removed.");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

fn failed(error: &Error) -> ExitCode {
    eprintln!("\nDemo FAILED: {error:#}");
    ExitCode::FAILURE
}

fn forward_signals(events: Sender<Event>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listen = |kind| {
        let _entered = runtime.enter();
        signal(kind)
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if events.send(Event::Interrupted).is_err() {
                    return;
                }
            }
        });
    });
    Ok(())
}
