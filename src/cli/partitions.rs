//! Options of `run` for the partitions that the controller makes.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::values;
use crate::api::Protocol;

/// Options of the partitions.
#[derive(Args, Clone, Debug)]
pub struct Partitions {
    /// The default images of nodes.
    #[command(flatten)]
    pub images: Images,

    /// Secret for pulling the images of nodes where a set names none, in the namespace of the set; can be repeated or
    /// comma-separated.
    #[arg(long = "image-pull-secrets", env = "IMAGE_PULL_SECRETS", value_name = "SECRET", value_delimiter = ',', value_parser = values::secret)]
    pub image_pull_secrets: Vec<String>,

    /// Whether to write core/v1 Endpoints beside the EndpointSlices, for `kubectl get endpoints` and kube-dns.
    #[arg(long, env = "LEGACY_ENDPOINTS", default_value_t = true, action = ArgAction::Set)]
    pub legacy_endpoints: bool,

    /// Number of partitions that are reconciled in parallel.
    #[arg(long, env = "WORKERS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
}

/// The default image of each protocol's nodes, as the options `--<protocol>-image`.
#[derive(Clone, Debug)]
pub struct Images(pub BTreeMap<Protocol, String>);

fn id(protocol: Protocol) -> String {
    format!("{}-image", protocol.as_str())
}

impl Args for Images {
    fn augment_args(command: Command) -> Command {
        command.args(Protocol::ALL.map(|protocol| {
            let (id, facts) = (id(protocol), protocol.facts());
            Arg::new(&id)
                .long(&id)
                .env(id.replace('-', "_").to_ascii_uppercase())
                .value_name("IMAGE")
                .default_value(facts.default_image)
                .help(format!("Default image of {} nodes", facts.title))
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Images {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let image = |protocol| Some((protocol, matches.get_one::<String>(&id(protocol))?.clone()));
        Ok(Self(Protocol::ALL.into_iter().filter_map(image).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
