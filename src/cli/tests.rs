//! Tests of the command line.

use std::time::Duration;

use clap::CommandFactory;

use super::*;
use crate::grpc::tls::Sources;
use crate::scope::Scope;
use crate::tls::source::Source;
use crate::tls::{ClientAuthentication, Mode, Periods};

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn an_option_given_twice_takes_the_last() {
    let cli = Cli::parse_from(["x", "run", "--workers=2", "--workers=3"]);
    assert!(matches!(cli.command, Command::Run(run) if run.partitions.workers == 3));
}

fn run(arguments: &[&str]) -> Result<Run, String> {
    let arguments = ["x", "run"].iter().chain(arguments);
    match Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.command {
        Command::Run(run) => Ok(*run),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn namespaces_add_up_and_none_means_all() {
    assert_eq!(run(&[]).unwrap().scope(), Scope::All);
    let several = run(&["--namespace=b", "--namespace=a,c", "--namespace=b"]).unwrap();
    assert_eq!(several.scope().to_string(), "a,b,c");
}

#[test]
fn what_is_no_name_is_refused_with_the_option_and_the_rule() {
    let long = "n".repeat(64);
    for wrong in ["", "A", "a.b", "-a", "a,", "a b", &long] {
        let error = run(&[&format!("--namespace={wrong}")]).unwrap_err();
        assert!(error.contains("--namespace <NAMESPACE>") && error.contains("DNS-1123 label"), "{wrong:?}: {error}");
    }
    let (fits, long) = ("c".repeat(49), "c".repeat(50));
    assert_eq!(run(&[&format!("--controller-name={fits}")]).unwrap().controller_name, fits);
    for wrong in ["", "1a", "a.b", &long] {
        let error = run(&[&format!("--controller-name={wrong}")]).unwrap_err();
        assert!(error.contains("DNS-1035 label of at most 49 characters"), "{wrong:?}: {error}");
    }
}

#[test]
fn the_cluster_domain_has_no_dots_around_it() {
    assert_eq!(run(&["--cluster-domain=.example.org."]).unwrap().settings().cluster_domain, "example.org");
    assert!(run(&["--cluster-domain=Example"]).unwrap_err().contains("must be a DNS domain"));
}

#[test]
fn client_certificates_require_tls() {
    let tls = run(&["--grpc-certificate=secret:a", "--grpc-client-ca=files:/b"]).unwrap().grpc.tls();
    let sources = Sources { certificate: Source::Secret("a".into()), client_ca: Some(Source::Files("/b".into())) };
    assert_eq!(tls, Some(sources));
    assert_eq!(run(&[]).unwrap().grpc.tls(), None);
    assert!(run(&["--grpc-client-ca=secret:a"]).unwrap_err().contains("--grpc-certificate"));
    assert!(run(&["--grpc-certificate=a"]).unwrap_err().contains("must be secret:NAME"));
    assert!(run(&["--grpc-auth=x"]).unwrap_err().contains("[possible values: none, kubernetes]"));
}

#[test]
fn the_webhooks_certificate_is_self_signed_unless_a_source_is_named() {
    assert_eq!(run(&[]).unwrap().webhook.certificate, Mode::SelfSigned);
    let given = run(&["--webhook-certificate=files:/a"]).unwrap().webhook.certificate;
    assert_eq!(given, Mode::Provided(Source::Files("/a".into())));
    assert!(run(&["--webhook-certificate=a"]).unwrap_err().contains("must be self-signed, or it must be secret:"));
}

#[test]
fn names_of_webhook_clients_require_a_client_ca() {
    assert_eq!(run(&[]).unwrap().webhook.clients(), None);
    let clients = run(&["--webhook-client-ca=secret:a", "--webhook-client-name=b,c", "--webhook-client-name=d"]);
    let names = ["b", "c", "d"].map(str::to_owned).to_vec();
    let wanted = ClientAuthentication { ca: Source::Secret("a".into()), names };
    assert_eq!(clients.unwrap().webhook.clients(), Some(wanted));
    assert!(run(&["--webhook-client-name=b"]).unwrap_err().contains("--webhook-client-ca"));
    // An empty name would match no certificate, or every one.
    assert!(run(&["--webhook-client-ca=secret:a", "--webhook-client-name="]).is_err());
}

#[test]
fn a_drain_is_a_duration_with_a_unit() {
    let drain = |argument| run(&[argument]).map(|run| run.drain);
    assert_eq!(run(&[]).unwrap().drain, crate::admission::server::Limits::default().drain);
    assert_eq!(drain("--drain=1m30s"), Ok(Duration::from_secs(90)));
    assert_eq!(drain("--drain=0s"), Ok(Duration::ZERO));
    for wrong in ["--drain=5", "--drain=301s", "--drain=-1s", "--drain="] {
        assert!(drain(wrong).unwrap_err().contains("must be a duration of at most 5m"), "{wrong}");
    }
}

#[test]
fn certificates_last_for_bounded_times_that_fit_together() {
    assert_eq!(run(&[]).unwrap().certificates.periods(), Periods::default());
    let quick =
        run(&["--ca-lifetime=1m", "--leaf-lifetime=5s", "--ca-hold-down=200ms"]).unwrap().certificates.periods();
    assert_eq!((quick.ca, quick.leaf), (Duration::from_secs(60), Duration::from_secs(5)));
    assert_eq!(quick.hold_down, Duration::from_millis(200));
    // A rotation has to fit into a third of the CA's life.
    let slow = run(&["--ca-lifetime=1m", "--ca-hold-down=1h"]).unwrap().certificates.periods();
    assert_eq!(slow.hold_down, Duration::from_secs(3));
    for wrong in
        ["--ca-lifetime=9s", "--ca-lifetime=87601h", "--leaf-lifetime=4s", "--ca-hold-down=199ms", "--ca-hold-down=1"]
    {
        assert!(run(&[wrong]).unwrap_err().contains("must be a duration of at least"), "{wrong}");
    }
}

#[test]
fn pull_secrets_are_names_and_log_lines_have_a_form() {
    let several = run(&["--image-pull-secrets=a,b.c", "--image-pull-secrets=d"]).unwrap();
    assert_eq!(several.settings().image_pull_secrets, ["a", "b.c", "d"]);
    assert!(run(&["--image-pull-secrets=A"]).unwrap_err().contains("must be the name of a Secret"));
    assert_eq!(run(&[]).unwrap().log_format, LogFormat::Json);
    assert_eq!(run(&["--log-format=text"]).unwrap().log_format, LogFormat::Text);
}
