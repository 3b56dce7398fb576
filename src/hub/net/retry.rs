//! What went wrong with a request, and whether it is worth to ask again.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use ureq::http::HeaderMap;

use crate::hub::config::Patience;
use crate::hub::progress::DownloadProgress;

/// A request that failed.
#[derive(Debug)]
pub(in crate::hub) struct RequestError {
    /// In words, with what to do where that is known.
    pub reason: String,
    /// The pause that the server asks for before another try; `None`: it would come out the same.
    pub again: Option<Duration>,
}

impl RequestError {
    pub fn permanent(reason: impl Into<String>) -> Self {
        let (reason, again) = (reason.into(), None);
        Self { reason, again }
    }

    pub fn transient(reason: impl Into<String>) -> Self {
        let (reason, again) = (reason.into(), Some(Duration::ZERO));
        Self { reason, again }
    }

    /// What a status says that is no success.
    pub fn status(status: u16, headers: &HeaderMap) -> Self {
        let wait = || wait_asked(headers, SystemTime::now()).unwrap_or_default();
        Self {
            reason: format!("it answered with HTTP status {status}"),
            again: matches!(status, 408 | 429 | 500..=599).then(wait),
        }
    }
}

impl From<ureq::Error> for RequestError {
    fn from(error: ureq::Error) -> Self {
        use ureq::Error;
        match error {
            Error::Timeout(what) => Self::transient(format!("it did not answer in time ({what})")),
            Error::HostNotFound => Self::transient("the host's name was not found"),
            Error::Io(error) => error.into(),
            Error::ConnectionFailed => Self::transient("no connection could be made"),
            Error::Protocol(error) => Self::transient(format!("its answer is no HTTP ({error})")),
            error => Self::permanent(error.to_string()),
        }
    }
}

impl From<std::io::Error> for RequestError {
    fn from(error: std::io::Error) -> Self {
        let reason = error.to_string();
        match error.kind() {
            // A certificate that is not trusted, say.
            ErrorKind::InvalidData | ErrorKind::InvalidInput => Self::permanent(reason),
            _ => Self::transient(reason),
        }
    }
}

/// The pause that a server asks for: `Retry-After` in seconds or as a date, or the seconds until its count of requests
/// starts anew (`RateLimit: "api";r=0;t=55`).
fn wait_asked(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let seconds = |text: &str| {
        text.parse::<u32>()
            .ok()
            .map(|s| Duration::from_secs(s.into()))
    };
    let after = text("retry-after").map(str::trim).and_then(|value| {
        seconds(value).or_else(|| {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        })
    });
    after.or_else(|| {
        let fields: Vec<&str> = text("ratelimit")?.split(';').map(str::trim).collect();
        let until = fields.iter().find_map(|field| field.strip_prefix("t="))?;
        fields.contains(&"r=0").then(|| seconds(until)).flatten()
    })
}

/// Counts the tries of one request, and pauses before each.
pub(in crate::hub) struct Retries<'a> {
    patience: Patience,
    progress: &'a dyn DownloadProgress,
    made: u32,
}

impl<'a> Retries<'a> {
    pub fn new(patience: Patience, progress: &'a dyn DownloadProgress) -> Self {
        Self {
            patience,
            progress,
            made: 0,
        }
    }

    /// Does some work until it is through, or until another try is of no use.
    pub fn through<T>(
        mut self,
        what: &str,
        work: impl Fn() -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        loop {
            match work() {
                Ok(done) => return Ok(done),
                Err(error) => self.again(what, error)?,
            }
        }
    }

    /// The last try got on; the count begins anew.
    pub fn renew(&mut self) {
        self.made = 0;
    }

    /// Pauses before the next try; gives `error` back, with the number of tries, if there is to be none.
    pub fn again(&mut self, what: &str, error: RequestError) -> Result<(), RequestError> {
        let Some(asked) = error.again else {
            return Err(error);
        };
        if self.made >= self.patience.retries {
            let reason = format!("{} (tried {} times)", error.reason, self.made + 1);
            return Err(RequestError::permanent(reason));
        }
        let grown = self.patience.first_pause * 2u32.saturating_pow(self.made);
        let pause = asked.max(grown.min(self.patience.longest_pause));
        if asked > self.patience.longest_wait {
            return Err(RequestError::permanent(format!(
                "{}, and asks to be left alone for {} s; run the command again after that",
                error.reason,
                pause.as_secs()
            )));
        }
        self.made += 1;
        self.progress.note(&format!(
            "{what}: {}; trying again in {:.0} s ({} of {})",
            error.reason,
            pause.as_secs_f64(),
            self.made,
            self.patience.retries
        ));
        std::thread::sleep(pause);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &'static str, value: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        let now = httpdate::parse_http_date("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        wait_asked(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_server_may_ask_for_a_pause_in_three_ways() {
        assert_eq!(asked("retry-after", "120"), Some(120));
        let date = "Wed, 21 Oct 2015 07:28:30 GMT";
        assert_eq!(asked("retry-after", date), Some(30));
        let past = "Wed, 21 Oct 2015 07:00:00 GMT";
        assert_eq!(asked("retry-after", past), Some(0));
        for nonsense in ["soon", "-5", "1e9", "99999999999999"] {
            assert_eq!(asked("retry-after", nonsense), None);
        }
        assert_eq!(asked("ratelimit", "\"api\";r=0;t=55"), Some(55));
        assert_eq!(asked("ratelimit", "\"api\"; r=3; t=55"), None);
    }

    #[test]
    fn pauses_grow_and_have_a_bound() {
        let patience = Patience {
            retries: 2,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(1),
            longest_wait: Duration::from_secs(5),
            ..Patience::default()
        };
        let mut tries = Retries::new(patience, &());
        let passing = || RequestError::transient("it broke");
        tries.again("x", passing()).unwrap();
        tries.again("x", passing()).unwrap();
        let last = tries.again("x", passing()).unwrap_err();
        assert_eq!(
            (last.reason.as_str(), last.again),
            ("it broke (tried 3 times)", None)
        );
        tries.renew();
        let mut long = passing();
        long.again = Some(Duration::from_secs(3600));
        let last = tries.again("x", long).unwrap_err();
        assert!(last.reason.contains("3600 s"), "{}", last.reason);
        assert!(tries.again("x", RequestError::permanent("no")).is_err());
    }
}
