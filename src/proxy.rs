//! Proxies between this program and the API server, which are not supported.

use std::env;

use kube::Config;

/// Variables by which kubectl finds a proxy, the first that is set.
const VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];

/// The kubeconfig names a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the kubeconfig names the proxy {0} (proxy-url), and this program connects to the API server directly only: run it where the API server can be reached, such as in the cluster"
)]
pub struct Proxied(String);

/// Removes the proxy from `config`. Returns the variable that names it, if there is one: the API server may be within
/// reach all the same.
///
/// # Errors
/// [`Proxied`] if the kubeconfig itself names one.
pub(crate) fn bypass(config: &mut Config) -> Result<Option<&'static str>, Proxied> {
    let proxy = config.proxy_url.take().map(|proxy| proxy.to_string());
    proxy.map(|proxy| variable_of(proxy, |variable| env::var(variable).ok())).transpose()
}

/// The variable that names `proxy`. The kubeconfig counts before the variables.
fn variable_of(proxy: String, variable: impl Fn(&str) -> Option<String>) -> Result<&'static str, Proxied> {
    let is_same = |value: String| value.trim_end_matches('/') == proxy.trim_end_matches('/');
    VARIABLES.into_iter().find(|name| variable(name).is_some_and(is_same)).ok_or(Proxied(proxy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_of_the_environment_is_ignored_and_one_of_the_kubeconfig_is_refused() {
        let of = |proxy: &str, set: &[(&str, &str)]| {
            let variable =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            variable_of(proxy.to_owned(), variable)
        };
        let (one, other) = ("http://proxy:3128/", "socks5://other:1080/");
        assert_eq!(of(one, &[("HTTPS_PROXY", "http://proxy:3128")]), Ok("HTTPS_PROXY"));
        assert_eq!(of(one, &[("https_proxy", one)]), Ok("https_proxy"));
        assert_eq!(of(other, &[("HTTPS_PROXY", one)]), Err(Proxied(other.to_owned())));
        assert_eq!(of(other, &[]), Err(Proxied(other.to_owned())));
    }
}
