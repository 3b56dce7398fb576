//! Which proxy stands before which host, read from the environment as Python's requests reads it.

use std::fmt;
use std::net::IpAddr;

use ureq::Proxy;
use ureq::http::Uri;

use super::url::{Origin, origin};
use crate::hub::error::HubError;
use crate::hub::vars::Vars;

/// The proxies of the environment.
#[derive(Clone, Default)]
pub struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    /// Hosts that are asked directly.
    except: Vec<String>,
}

impl Proxies {
    /// The name in small letters wins.
    pub(in crate::hub) fn from_vars(vars: &Vars) -> Result<Self, HubError> {
        let proxy = |names: [&'static str; 2]| vars.read(&names, parse);
        let all = proxy(["all_proxy", "ALL_PROXY"])?;
        let hosts = |text: &str| {
            let hosts = text.split(',').map(|host| host.trim().to_ascii_lowercase());
            Ok(hosts.filter(|host| !host.is_empty()).collect())
        };
        Ok(Self {
            https: proxy(["https_proxy", "HTTPS_PROXY"])?.or(all.clone()),
            http: proxy(["http_proxy", "HTTP_PROXY"])?.or(all),
            except: vars
                .read(&["no_proxy", "NO_PROXY"], hosts)?
                .unwrap_or_default(),
        })
    }

    /// The proxy on the way to `uri`.
    pub(super) fn of(&self, uri: &Uri) -> Option<&Proxy> {
        let origin = origin(uri);
        let proxy = match origin.scheme.as_str() {
            "https" => &self.https,
            _ => &self.http,
        };
        proxy
            .as_ref()
            .filter(|_| !self.except.iter().any(|entry| is_excepted(entry, &origin)))
    }
}

/// Without the addresses, which may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

fn parse(text: &str) -> Result<Proxy, String> {
    let proxy = Proxy::new(text.trim()).ok();
    let proxy = proxy.filter(|proxy| !proxy.host().is_empty());
    proxy.ok_or(
        "it is no URL of a proxy, such as http://host:3128 (the value is not shown)".to_string(),
    )
}

/// `entry` is `*`, a host (which stands for its subdomains too), `host:port`, an address or a range of addresses.
fn is_excepted(entry: &str, origin: &Origin) -> bool {
    let host = origin.host.trim_matches(['[', ']']);
    if let (Some((net, bits)), Ok(address)) = (entry.split_once('/'), host.parse::<IpAddr>()) {
        return in_range(net, bits, address);
    }
    let domain = entry.trim_start_matches('*').trim_start_matches('.');
    let ends_so = |host: &str| {
        let before = host.strip_suffix(domain);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    entry == "*"
        || (!domain.is_empty() && (ends_so(host) || ends_so(&format!("{host}:{}", origin.port))))
}

fn in_range(net: &str, bits: &str, address: IpAddr) -> bool {
    let (Ok(IpAddr::V4(net)), Ok(bits @ 0..=32), IpAddr::V4(address)) =
        (net.parse(), bits.parse::<u32>(), address)
    else {
        return false;
    };
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    u32::from(net) & mask == u32::from(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::net::url;

    fn proxies(vars: &[(&'static str, &'static str)]) -> Proxies {
        let var = |key: &str| {
            let found = vars.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).into())
        };
        let home = None;
        Proxies::from_vars(&Vars { var: &var, home }).unwrap()
    }

    fn host(proxies: &Proxies, url: &str) -> Option<String> {
        let proxy = proxies.of(&url::parse(url).unwrap());
        proxy.map(|proxy| proxy.host().to_string())
    }

    /// As `requests.utils.get_environ_proxies` answers.
    #[test]
    fn the_scheme_of_the_url_chooses_the_proxy() {
        let both = proxies(&[
            ("HTTPS_PROXY", "http://big:1"),
            ("https_proxy", "http://small:1"),
            ("ALL_PROXY", "socks5://all:1"),
        ]);
        assert_eq!(host(&both, "https://a.example").as_deref(), Some("small"));
        assert_eq!(host(&both, "http://a.example").as_deref(), Some("all"));
        let http = proxies(&[("HTTP_PROXY", "plain:1")]);
        assert_eq!(host(&http, "https://a.example"), None);
        assert_eq!(host(&http, "http://a.example").as_deref(), Some("plain"));
    }

    #[test]
    fn some_hosts_are_asked_directly() {
        let with = |except: &'static str| {
            proxies(&[
                ("https_proxy", "http://p:1"),
                ("http_proxy", "http://p:1"),
                ("NO_PROXY", except),
            ])
        };
        for (except, url, direct) in [
            ("*", "https://a.example", true),
            ("example", "https://a.example", true),
            (".example", "https://a.example", true),
            ("xample", "https://a.example", false),
            ("b.example, a.example", "https://a.example", true),
            ("a.example:443", "https://a.example", true),
            ("a.example:8443", "https://a.example", false),
            ("127.0.0.1", "http://127.0.0.1:8000", true),
            ("127.0.0.0/8", "http://127.9.9.9:8000", true),
            ("10.0.0.0/8", "http://127.0.0.1", false),
        ] {
            assert_eq!(host(&with(except), url).is_none(), direct, "{except} {url}");
        }
    }
}
