//! The bytes of one file on their way into the cache: in one go, or in several where the connection breaks. No more
//! bytes are taken than were announced.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use ureq::Body;
use ureq::http::{Response, header};

use crate::hub::digest::BUFFER_BYTES;
use crate::hub::error::HubError;
use crate::hub::net::{Client, Method, RequestError, Retries, text};
use crate::hub::progress::DownloadProgress;

/// A try that brought so much counts as one that got on.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Why a transfer ended.
pub(super) enum TransferError {
    /// The network, or the hub.
    Net(RequestError),
    /// This machine.
    Disk(HubError),
}

impl<T: Into<RequestError>> From<T> for TransferError {
    fn from(error: T) -> Self {
        Self::Net(error.into())
    }
}

/// What is fetched.
pub(super) struct Transfer<'a> {
    pub client: &'a Client,
    pub url: &'a str,
    /// The file as messages call it.
    pub what: &'a str,
    /// Its size, where the hub told it.
    pub size: Option<u64>,
    /// The most bytes that such a file may have.
    pub most: u64,
    pub path: &'a Path,
    pub progress: &'a dyn DownloadProgress,
}

impl Transfer<'_> {
    /// Brings `part` to its whole size, beginning with what it holds; tries again where that may help.
    pub fn run(&self, part: &mut File, mut tries: Retries) -> Result<(), TransferError> {
        self.progress.start(self.what, self.size);
        let mut got = part.metadata().map_err(self.disk("read"))?.len();
        if self.size.is_none_or(|size| got > size) {
            got = self.restart(part)?;
        }
        self.progress.advance(got);
        let mut reported = got;
        let mut before = got;
        while let Err(end) = self.attempt(part, &mut got, &mut reported) {
            let TransferError::Net(error) = end else {
                return Err(end);
            };
            if got >= before + PROGRESS_BYTES {
                tries.renew();
            }
            tries.again(self.what, error)?;
            before = got;
        }
        // The rename must not reach the disk before the bytes do.
        part.sync_all().map_err(self.disk("write"))?;
        self.progress.finish(self.what);
        Ok(())
    }

    /// One request. `got` counts the bytes in the file, `reported` those that the progress has heard of.
    fn attempt(
        &self,
        part: &mut File,
        got: &mut u64,
        reported: &mut u64,
    ) -> Result<(), TransferError> {
        if self.size == Some(*got) {
            return Ok(());
        }
        let answer = self.client.send(Method::Get(*got), self.url)?;
        let announced = match answer.status().as_u16() {
            200 => {
                *got = self.restart(part)?;
                length(&answer)
            }
            206 => continued(&answer, *got)?,
            416 => {
                *got = self.restart(part)?;
                let reason = "it does not have the bytes that are missing";
                return Err(RequestError::transient(reason).into());
            }
            status => return Err(RequestError::status(status, answer.headers()).into()),
        };
        let whole = self.whole(&answer, announced)?;
        part.seek(SeekFrom::Start(*got))
            .map_err(self.disk("read"))?;
        let mut body = self.client.body(answer);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = body.read(&mut buffer)?;
            self.check_length(*got + read as u64, whole)?;
            if read == 0 {
                break;
            }
            part.write_all(&buffer[..read])
                .map_err(self.disk("write"))?;
            *got += read as u64;
            if *got > *reported {
                self.progress.advance(*got - *reported);
                *reported = *got;
            }
        }
        match whole {
            Some(whole) if *got < whole => {
                let reason = format!("the connection ended after {got} of {whole} bytes");
                Err(RequestError::transient(reason).into())
            }
            _ => Ok(()),
        }
    }

    fn check_length(&self, got: u64, whole: Option<u64>) -> Result<(), RequestError> {
        let (most, said) = match whole {
            Some(whole) => (whole, "it announced"),
            None => (self.most, "such a file may have"),
        };
        if got <= most {
            return Ok(());
        }
        let reason = format!("it sends more than the {most} bytes that {said}");
        Err(RequestError::permanent(reason))
    }

    /// The size of the whole file, if anything told it; refused if two answers disagree, or if it is too large.
    fn whole(
        &self,
        answer: &Response<Body>,
        announced: Option<u64>,
    ) -> Result<Option<u64>, RequestError> {
        let encoding = text(answer.headers(), header::CONTENT_ENCODING.as_str());
        let reason = match (self.size, announced) {
            _ if !matches!(encoding, None | Some("" | "identity")) => {
                "it sends the file compressed, which was not asked for".to_string()
            }
            (Some(size), Some(now)) if size != now => {
                format!("it announced a file of {size} bytes and now sends one of {now}")
            }
            (None, Some(now)) if now > self.most => {
                let most = self.most;
                format!("it sends {now} bytes, and such a file may have {most}")
            }
            (size, now) => return Ok(size.or(now)),
        };
        Err(RequestError::permanent(reason))
    }

    fn restart(&self, part: &mut File) -> Result<u64, TransferError> {
        part.set_len(0).map_err(self.disk("write"))?;
        Ok(0)
    }

    fn disk(&self, action: &'static str) -> impl FnOnce(io::Error) -> TransferError {
        let error = HubError::io(action, self.path);
        move |source| TransferError::Disk(error(source))
    }
}

fn length(answer: &Response<Body>) -> Option<u64> {
    text(answer.headers(), header::CONTENT_LENGTH.as_str())?
        .trim()
        .parse()
        .ok()
}

/// The whole size in `Content-Range: bytes 4-11/12`, which must begin where we are.
fn continued(answer: &Response<Body>, got: u64) -> Result<Option<u64>, RequestError> {
    let range = text(answer.headers(), header::CONTENT_RANGE.as_str()).unwrap_or_default();
    let parsed = range.trim().strip_prefix("bytes ").and_then(|range| {
        let (bytes, whole) = range.split_once('/')?;
        let first: u64 = bytes.split_once('-')?.0.trim().parse().ok()?;
        Some((first, whole.trim().parse().ok()))
    });
    match parsed {
        Some((first, whole)) if first == got => Ok(whole),
        _ => Err(RequestError::permanent(format!(
            "asked for the bytes from {got} on, it sends others"
        ))),
    }
}
