//! Proxies between this program and the API server, which it does not use.

use std::env;

use kube::Config;

/// Variables by which kubectl finds a proxy, in the order in which they count.
const VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];

/// The kubeconfig asks for what this program cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the kubeconfig names the proxy {0} (proxy-url), and this program connects to the API server directly only: run it where the API server can be reached, such as in the cluster"
)]
pub struct Proxied(String);

/// What becomes of a proxy.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// None is named.
    Direct,
    /// This variable names one. The API server may be within reach all the same.
    Ignored(&'static str),
    /// The kubeconfig says that there is no other way.
    Refused(String),
}

/// Has the API server connected to directly. Returns the variable that names a proxy, if one does.
///
/// # Errors
/// [`Proxied`] if the kubeconfig itself names one.
pub fn bypass(config: &mut Config) -> Result<Option<&'static str>, Proxied> {
    let proxy = config.proxy_url.take().map(|proxy| proxy.to_string());
    match verdict(proxy, |variable| env::var(variable).ok()) {
        Verdict::Direct => Ok(None),
        Verdict::Ignored(variable) => Ok(Some(variable)),
        Verdict::Refused(proxy) => Err(Proxied(proxy)),
    }
}

/// Where `proxy` comes from: what the kubeconfig names counts before the variables do.
fn verdict(proxy: Option<String>, variable: impl Fn(&str) -> Option<String>) -> Verdict {
    let Some(proxy) = proxy else { return Verdict::Direct };
    let same = |named: &str| named.trim_end_matches('/') == proxy.trim_end_matches('/');
    let named = VARIABLES.into_iter().find(|name| variable(name).is_some_and(|value| same(&value)));
    named.map_or_else(|| Verdict::Refused(proxy.clone()), Verdict::Ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_of_the_environment_is_left_out_and_one_of_the_kubeconfig_is_refused() {
        let of = |proxy: Option<&str>, set: &[(&str, &str)]| {
            let variable =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            verdict(proxy.map(str::to_owned), variable)
        };
        let (one, other) = ("http://proxy:3128/", "socks5://other:1080/");
        assert_eq!(of(None, &[("HTTPS_PROXY", one)]), Verdict::Direct);
        assert_eq!(of(Some(one), &[("HTTPS_PROXY", "http://proxy:3128")]), Verdict::Ignored("HTTPS_PROXY"));
        assert_eq!(of(Some(one), &[("https_proxy", one)]), Verdict::Ignored("https_proxy"));
        assert_eq!(of(Some(other), &[("HTTPS_PROXY", one)]), Verdict::Refused(other.to_owned()));
        assert_eq!(of(Some(other), &[]), Verdict::Refused(other.to_owned()));
    }
}
