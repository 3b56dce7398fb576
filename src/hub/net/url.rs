//! URLs: which are accepted, where a redirect leads, and what of one may be shown.

use ureq::http::Uri;

use crate::hub::plain::shown;

/// The address of a server: whoever differs in one of these is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) struct Origin {
    pub scheme: String,
    pub host: String,
    pub port: u16,
}

/// An http or https URL with a host.
pub(in crate::hub) fn parse(text: &str) -> Result<Uri, String> {
    let bad = || format!("`{}` is no http or https URL", safe(text));
    let uri: Uri = text.trim().parse().map_err(|_| bad())?;
    let scheme = uri.scheme_str().map(str::to_ascii_lowercase);
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    match scheme.as_deref() {
        Some("http" | "https") if has_host => Ok(uri),
        _ => Err(bad()),
    }
}

pub(in crate::hub) fn origin(uri: &Uri) -> Origin {
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let standard = if scheme == "https" { 443 } else { 80 };
    Origin {
        host: uri.host().unwrap_or_default().to_ascii_lowercase(),
        port: uri.port_u16().unwrap_or(standard),
        scheme,
    }
}

/// Where the `Location` of an answer from `base` leads (RFC 3986, section 5.2, without dot segments, which the server
/// that is asked resolves).
pub(in crate::hub) fn join(base: &Uri, location: &str) -> Result<Uri, String> {
    let location = location.trim().split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let has_scheme = location
        .split(['/', '?'])
        .next()
        .is_some_and(|start| start.contains(':'));
    let path = base.path();
    let text = if has_scheme {
        location.to_string()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.is_empty() || location.starts_with('?') {
        format!("{scheme}://{authority}{path}{location}")
    } else {
        let folder = &path[..path.rfind('/').map_or(0, |at| at + 1)];
        format!("{scheme}://{authority}{folder}{location}")
    };
    parse(&text)
}

/// A URL without user, password and query, which may hold secrets.
pub(in crate::hub) fn without_credentials(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    match scheme {
        "" => format!("{host}{path}"),
        _ => format!("{scheme}://{host}{path}"),
    }
}

/// A URL for a message.
pub(in crate::hub) fn safe(text: &str) -> String {
    shown(&without_credentials(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_from_where_it_was_said() {
        let base = parse("https://hub.example:8443/a/b/resolve/x?q=1").unwrap();
        for (location, expected) in [
            ("https://cdn.example/f?sig=1", "https://cdn.example/f?sig=1"),
            ("//cdn.example/f", "https://cdn.example/f"),
            ("/c/d", "https://hub.example:8443/c/d"),
            ("y", "https://hub.example:8443/a/b/resolve/y"),
            ("?r=2", "https://hub.example:8443/a/b/resolve/x?r=2"),
            ("/c#part", "https://hub.example:8443/c"),
            ("/c?u=http://x", "https://hub.example:8443/c?u=http://x"),
        ] {
            assert_eq!(join(&base, location).unwrap().to_string(), expected);
        }
        for location in [
            "file:///etc/passwd",
            "ftp://x/y",
            "javascript:0",
            "https://",
            "http://a b/",
        ] {
            assert!(join(&base, location).is_err(), "{location}");
        }
    }

    #[test]
    fn another_scheme_host_or_port_is_another_server() {
        let of = |text: &str| origin(&parse(text).unwrap());
        assert_eq!(of("https://Hub.example/a"), of("https://hub.example:443/b"));
        for other in [
            "http://hub.example",
            "https://hub.example:8443",
            "https://cdn.hub.example",
        ] {
            assert_ne!(of(other), of("https://hub.example"));
        }
        // A user's name is none of it, however it looks.
        assert_eq!(of("https://hub.example@evil.example/").host, "evil.example");
    }

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        assert_eq!(
            without_credentials("https://ada:pw@hub.example/a/b?X-Signature=1#f"),
            "https://hub.example/a/b"
        );
        assert_eq!(without_credentials("ada:pw@proxy:80"), "proxy:80");
    }
}
