//! Requests to the hub. Redirects are followed here rather than by the HTTP crate: the token goes to the hub's own
//! address alone, and a file's hash and size stand in the answer that redirects.

use std::io::ErrorKind::{NotADirectory, NotFound};

use ureq::http::{HeaderMap, Request, Response, Uri, header};
use ureq::{Agent, Body, BodyReader};

use super::proxies::Proxies;
use super::retry::RequestError;
use super::throughput::MinThroughput;
use super::url::{self, Origin};
use crate::hub::config::{HubConfig, Patience};
use crate::hub::plain;

/// As many redirects as browsers and Python's clients follow at least.
const MAX_REDIRECTS: usize = 10;

/// How a hub's answer about a file names the commit that it is of.
pub(in crate::hub) const COMMIT: &str = "x-repo-commit";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::hub) enum Method {
    /// What the server says of a file: from the first answer that tells the commit, even if it sends us on to another
    /// server.
    Head,
    /// A file, from this byte on.
    Get(u64),
}

/// Asks the hub.
pub(in crate::hub) struct Client {
    agent: Agent,
    proxies: Proxies,
    patience: Patience,
    /// Where the token may go.
    home: Origin,
    token: Option<String>,
}

impl Client {
    /// # Errors
    /// An endpoint that is no URL, and a file with a token that is none.
    pub fn new(config: &HubConfig) -> Result<Self, RequestError> {
        let patience = config.patience;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!(
                env!("CARGO_PKG_NAME"),
                "/",
                env!("CARGO_PKG_VERSION")
            ))
            // Bytes are counted and hashed as the server announced them.
            .accept_encoding("identity")
            .timeout_resolve(Some(patience.answer))
            .timeout_connect(Some(patience.answer))
            .timeout_send_request(Some(patience.answer))
            .timeout_recv_response(Some(patience.answer.max(patience.idle)))
            .timeout_per_read(Some(patience.idle))
            .build()
            .new_agent();
        let home = url::origin(&url::parse(&config.endpoint).map_err(RequestError::permanent)?);
        let token = match &config.token {
            Some(token) => Some(token.clone()),
            None => token_in_file(config)?,
        };
        Ok(Self {
            agent,
            proxies: config.proxies.clone(),
            patience,
            home,
            token,
        })
    }

    /// The bytes of an answer, as long as they come fast enough.
    pub fn body(&self, answer: Response<Body>) -> MinThroughput<BodyReader<'static>> {
        MinThroughput::new(answer.into_body().into_reader(), self.patience)
    }

    /// What to say of the token where the hub refuses.
    pub fn token_words(&self) -> &'static str {
        match self.token {
            Some(_) => "the one in use may not",
            None => "none is set",
        }
    }

    /// The answer to one request, whatever its status, after redirects.
    pub fn send(&self, method: Method, url: &str) -> Result<Response<Body>, RequestError> {
        let refused = |why: String| Err(RequestError::permanent(why));
        let mut uri = url::parse(url).map_err(RequestError::permanent)?;
        let mut token = self.token.as_deref();
        let mut seen = vec![uri.clone()];
        loop {
            // Once away from home, it is not sent again: who sent us back is not the hub.
            token = token.filter(|_| self.is_home(&uri));
            let answer = self.ask(method, &uri, token)?;
            let Some(location) = redirect(&answer)? else {
                return Ok(answer);
            };
            let next = url::join(&uri, location).map_err(|reason| {
                RequestError::permanent(format!("it redirects to an unusable address: {reason}"))
            })?;
            let leaves = url::origin(&next) != url::origin(&uri);
            if leaves && method == Method::Head && answer.headers().contains_key(COMMIT) {
                return Ok(answer);
            }
            if url::origin(&uri).scheme == "https" && url::origin(&next).scheme != "https" {
                return refused(format!(
                    "it redirects from https to http ({}), where anyone could read and change the file",
                    url::safe(&next.to_string())
                ));
            }
            if seen.contains(&next) {
                return refused("it redirects in a circle".to_string());
            }
            if seen.len() > MAX_REDIRECTS {
                return refused(format!("it redirects more than {MAX_REDIRECTS} times"));
            }
            seen.push(next.clone());
            uri = next;
        }
    }

    fn ask(
        &self,
        method: Method,
        uri: &Uri,
        token: Option<&str>,
    ) -> Result<Response<Body>, RequestError> {
        let mut request = Request::builder().uri(uri).method(match method {
            Method::Head => "HEAD",
            Method::Get(_) => "GET",
        });
        if let Method::Get(first @ 1..) = method {
            request = request.header(header::RANGE, format!("bytes={first}-"));
        }
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        // The crate's own message could show the header.
        let request = request.body(()).map_err(|_| {
            RequestError::permanent("the request cannot be written (is the token whole?)")
        })?;
        let request = self
            .agent
            .configure_request(request)
            .proxy(self.proxies.of(uri).cloned())
            .build();
        Ok(self.agent.run(request)?)
    }

    /// Also the https side of a hub that is named with http, as Python's clients have it.
    fn is_home(&self, uri: &Uri) -> bool {
        let origin = url::origin(uri);
        let upgraded = self.home.scheme == "http"
            && self.home.port == 80
            && origin.scheme == "https"
            && origin.port == 443
            && origin.host == self.home.host;
        origin == self.home || upgraded
    }
}

fn token_in_file(config: &HubConfig) -> Result<Option<String>, RequestError> {
    let Some(path) = &config.token_file else {
        return Ok(None);
    };
    let file = path.display();
    let token = match std::fs::read_to_string(path) {
        Ok(text) => plain::token(&text).map_err(|why| format!("{file} holds no token: {why}")),
        Err(why) if matches!(why.kind(), NotFound | NotADirectory) => Ok(None),
        Err(why) => Err(format!(
            "the file with the token, {file}, cannot be read: {why}"
        )),
    };
    token.map_err(RequestError::permanent)
}

/// Where an answer sends us.
fn redirect(answer: &Response<Body>) -> Result<Option<&str>, RequestError> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = text(answer.headers(), header::LOCATION.as_str());
    let nowhere = || RequestError::permanent("it redirects, and does not say where to");
    location.map(Some).ok_or_else(nowhere)
}

/// A header's value, if it is text.
pub(in crate::hub) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
