//! The download of one model into the Hugging Face cache.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::cache::RepoCache;
use super::transfer::{Transfer, TransferError};
use crate::hub::config::HubConfig;
use crate::hub::digest::{self, HashCheck};
use crate::hub::error::HubError;
use crate::hub::files::{CONFIG, INDEX, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS};
use crate::hub::name::HubName;
use crate::hub::net::{COMMIT, Client, Method, RequestError, Retries, text, url};
use crate::hub::plain::{self, shown};
use crate::hub::progress::DownloadProgress;
use crate::hub::{folder, gguf};

/// What Python's `quote` leaves as it is in a file's name.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~');
const IN_PATHS: &AsciiSet = &IN_PATH.remove(b'/');

/// The most bytes that a config or an index may have, and a list of files.
const SMALL_BYTES: u64 = 64 << 20;

/// The most that a tokenizer may have; those of 256,000 tokens have 35 MB.
const TOKENIZER_BYTES: u64 = 512 << 20;

/// As many files as a hint names.
const HINT_FILES: usize = 20;

/// What the hub says of a file.
struct Metadata {
    commit: String,
    /// The hash that names its content.
    etag: String,
    size: Option<u64>,
}

/// One model on its way from the hub to the cache.
pub(super) struct Download<'a> {
    name: &'a HubName,
    config: &'a HubConfig,
    client: Client,
    cache: &'a RepoCache,
    progress: &'a dyn DownloadProgress,
}

/// A file as messages name it, with its repository and hub.
fn named(file: &str, name: &HubName, config: &HubConfig) -> String {
    let hub = url::safe(config.endpoint());
    format!("{file} of {} from {hub}", name.label())
}

impl<'a> Download<'a> {
    pub fn new(
        name: &'a HubName,
        config: &'a HubConfig,
        cache: &'a RepoCache,
        progress: &'a dyn DownloadProgress,
    ) -> Result<Self, HubError> {
        let client = Client::new(config).map_err(|error| HubError::Transfer {
            what: named("anything", name, config),
            reason: error.reason,
        })?;
        Ok(Self {
            name,
            config,
            client,
            cache,
            progress,
        })
    }

    /// Fetches what the cache lacks; returns the commit.
    pub fn run(&self) -> Result<String, HubError> {
        let first = self.name.gguf.as_deref().unwrap_or(CONFIG);
        let revision = self.name.revision();
        let metadata = self.metadata(revision, first)?;
        let commit = metadata.ok_or_else(|| self.not_on_hub(first))?.commit;
        match &self.name.gguf {
            Some(file) => {
                for part in gguf::split_siblings(file) {
                    self.fetch(&commit, &part)?;
                }
            }
            None => self.fetch_folder(&commit)?,
        }
        self.cache.set_commit(revision, &commit)?;
        Ok(commit)
    }

    /// The weights come last: without them no later start takes the snapshot for a whole model.
    fn fetch_folder(&self, commit: &str) -> Result<(), HubError> {
        self.fetch(commit, CONFIG)?;
        self.fetch(commit, TOKENIZER)?;
        self.fetch_optional(commit, TOKENIZER_CONFIG)?;
        if self.fetch_optional(commit, WEIGHTS)?.is_some() {
            return Ok(());
        }
        let Some(index) = self.fetch_optional(commit, INDEX)? else {
            return Err(self.not_on_hub(&format!("{} and no {}", WEIGHTS, INDEX)));
        };
        for shard in folder::shards(&index)? {
            self.fetch(commit, &shard)?;
        }
        Ok(())
    }

    fn fetch(&self, commit: &str, file: &str) -> Result<PathBuf, HubError> {
        self.fetch_optional(commit, file)?
            .ok_or_else(|| self.not_on_hub(file))
    }

    /// The path of `file` in the snapshot, downloaded if need be; `None` if the repository has no such
    /// file.
    fn fetch_optional(&self, commit: &str, file: &str) -> Result<Option<PathBuf>, HubError> {
        let cached = self.cache.snapshot(commit).join(file);
        if cached.is_file() {
            return Ok(Some(cached));
        }
        let Some(metadata) = self.metadata(commit, file)? else {
            return Ok(None);
        };
        let what = format!("{}/{file}", self.name.repo);
        let _lock = self.cache.lock(&metadata.etag, &what, self.progress)?;
        let blob = self.cache.blob(&metadata.etag);
        if !self.is_whole(&blob, &metadata)? {
            self.bring(&blob, &what, file, &metadata)?;
        }
        self.cache.link(&blob, commit, file).map(Some)
    }

    /// Whether the blob is there already, from another commit or another process. A damaged one is removed.
    fn is_whole(&self, blob: &Path, metadata: &Metadata) -> Result<bool, HubError> {
        let Ok(found) = fs::metadata(blob) else {
            return Ok(false);
        };
        let right_size = metadata.size.is_none_or(|size| size == found.len());
        let verdict = digest::compare(blob, &metadata.etag)?;
        if right_size && !matches!(verdict, HashCheck::Mismatch(..)) {
            return Ok(true);
        }
        self.progress
            .note(&format!("{} is damaged; fetching it anew", blob.display()));
        fs::remove_file(blob).map_err(HubError::io("remove the damaged", blob))?;
        Ok(false)
    }

    /// Downloads the blob; only one with the right size and hash gets its name.
    fn bring(
        &self,
        blob: &Path,
        what: &str,
        file: &str,
        metadata: &Metadata,
    ) -> Result<(), HubError> {
        let part = blob.with_file_name(format!("{}.incomplete", metadata.etag));
        let transfer = Transfer {
            client: &self.client,
            url: &self.url(&metadata.commit, file),
            what,
            size: metadata.size,
            most: most_bytes(file).unwrap_or(u64::MAX),
            path: &part,
            progress: self.progress,
        };
        loop {
            let mut opened = self.cache.open_part(&part)?;
            let length = opened
                .metadata()
                .map_err(HubError::io("read", &part))?
                .len();
            let resumed = length > 0;
            let brought = transfer.run(&mut opened, self.tries());
            brought.map_err(|error| match error {
                TransferError::Disk(error) => error,
                TransferError::Net(error) => self.transfer_error(file, error),
            })?;
            drop(opened);
            let HashCheck::Mismatch(kind, got) = digest::compare(&part, &metadata.etag)? else {
                return fs::rename(&part, blob).map_err(HubError::io("write", blob));
            };
            fs::remove_file(&part).map_err(HubError::io("remove the damaged", &part))?;
            if resumed {
                let why = "what an earlier download had left was damaged";
                self.progress
                    .note(&format!("{what}: {why}; fetching it anew"));
                continue;
            }
            return Err(HubError::mismatch(
                named(file, self.name, self.config),
                [format!("{kind} {}", metadata.etag), got],
                "it was not kept; run the command again to fetch it anew, and if that does not help, look for what \
                 changes it on the way (HF_ENDPOINT, a proxy)",
            ));
        }
    }

    /// What the hub says of `file`; `None` if it has no such file.
    fn metadata(&self, revision: &str, file: &str) -> Result<Option<Metadata>, HubError> {
        let address = self.url(revision, file);
        let what = format!("{}/{file}", self.name.repo);
        let asked = self.tries().through(&what, || {
            let answer = self.client.send(Method::Head, &address)?;
            match answer.status().as_u16() {
                200..=399 | 401 | 403 | 404 => Ok(answer),
                status => Err(RequestError::status(status, answer.headers())),
            }
        });
        let answer = asked.map_err(|error| self.transfer_error(file, error))?;
        match answer.status().as_u16() {
            404 => Ok(None),
            status @ (401 | 403) => Err(self.refused(status)),
            _ => {
                let understood = self.understand(revision, file, &answer);
                let bad = |reason| self.bad_answer(file, reason);
                understood.map(Some).map_err(bad)
            }
        }
    }

    fn tries(&self) -> Retries<'a> {
        Retries::new(self.config.patience, self.progress)
    }

    /// Checks all that the answer says before anything is done with it.
    fn understand(
        &self,
        revision: &str,
        file: &str,
        answer: &ureq::http::Response<ureq::Body>,
    ) -> Result<Metadata, String> {
        let headers = answer.headers();
        let said = |name: &str| text(headers, name);
        let commit = said(COMMIT).ok_or("it does not say which commit it is of (X-Repo-Commit)")?;
        if !plain::is_commit(commit) {
            return Err(format!("`{}` is no commit (40 hex digits)", shown(commit)));
        }
        if plain::is_commit(revision) && !revision.eq_ignore_ascii_case(commit) {
            return Err(format!(
                "it is of commit {commit}, and {revision} was asked for"
            ));
        }
        let etag = said("x-linked-etag").or_else(|| said("etag"));
        let etag = etag.ok_or("it gives no hash of the file (ETag)")?;
        let hash = plain::etag(etag)
            .ok_or_else(|| format!("the ETag `{}` is no hash (hex digits alone)", shown(etag)))?;
        let own_length = Some("content-length").filter(|_| !answer.status().is_redirection());
        let size = said("x-linked-size").or_else(|| own_length.and_then(said));
        let size = size.map(|size| size.trim().parse::<u64>()).transpose();
        let size = size.map_err(|_| "it gives a size that is no number")?;
        match (size, most_bytes(file)) {
            (Some(size), Some(most)) if size > most => Err(format!(
                "it announces {size} bytes, and such a file may have {most}"
            )),
            (None, None) => Err("it does not say how large the file is".to_string()),
            _ => Ok(Metadata {
                commit: commit.to_string(),
                etag: hash.to_string(),
                size,
            }),
        }
    }

    fn url(&self, revision: &str, file: &str) -> String {
        format!(
            "{}/{}/resolve/{}/{}",
            self.config.endpoint(),
            self.name.repo,
            utf8_percent_encode(revision, IN_PATH),
            utf8_percent_encode(file, IN_PATHS)
        )
    }

    /// The hub and the repository, as messages name them.
    fn names(&self) -> (String, String) {
        (url::safe(self.config.endpoint()), self.name.label())
    }

    fn refused(&self, status: u16) -> HubError {
        let (endpoint, repo) = self.names();
        HubError::Refused(format!(
            "{endpoint} refused {repo} (HTTP {status}): it is private, gated or does not exist; check the name, accept \
             the model's terms on its page, and set HF_TOKEN to a token that may read it ({})",
            self.client.token_words()
        ))
    }

    fn bad_answer(&self, file: &str, reason: String) -> HubError {
        let (endpoint, repo) = self.names();
        let of = format!("of the hub at {endpoint} for {file} of {repo}");
        HubError::BadAnswer { of, reason }
    }

    fn transfer_error(&self, file: &str, error: RequestError) -> HubError {
        HubError::Transfer {
            what: named(file, self.name, self.config),
            reason: error.reason,
        }
    }

    /// Repositories of GGUF files are common; name the files that could be used.
    fn not_on_hub(&self, file: &str) -> HubError {
        let mut ggufs = self.listing().unwrap_or_default();
        ggufs.retain(|file| file.ends_with(".gguf"));
        let more = match ggufs.len().saturating_sub(HINT_FILES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        ggufs.truncate(HINT_FILES);
        let mut hint = String::new();
        if !ggufs.is_empty() {
            let (repo, files) = (&self.name.repo, ggufs.join(", "));
            hint = format!("; it has GGUF files, to be given as {repo}/FILE: {files}{more}");
        }
        let (endpoint, repo) = self.names();
        HubError::Refused(format!(
            "{endpoint} has no {file} in {repo}; check the name and the revision{hint}"
        ))
    }

    /// The names of the repository's files as they may be shown, for a hint alone: any trouble means none.
    fn listing(&self) -> Option<Vec<String>> {
        let address = format!(
            "{}/api/models/{}/revision/{}",
            self.config.endpoint(),
            self.name.repo,
            utf8_percent_encode(self.name.revision(), IN_PATH)
        );
        let answer = self.client.send(Method::Get(0), &address).ok()?;
        let mut text = Vec::new();
        let mut body = self.client.body(answer).take(SMALL_BYTES);
        body.read_to_end(&mut text).ok()?;
        let info: Value = serde_json::from_slice(&text).ok()?;
        let files = info.get("siblings")?.as_array()?.iter();
        files
            .map(|file| Some(shown(file.get("rfilename")?.as_str()?)))
            .collect()
    }
}

/// The most bytes that a file may have which is read into memory as a whole; `None` for weights.
fn most_bytes(file: &str) -> Option<u64> {
    match file {
        TOKENIZER => Some(TOKENIZER_BYTES),
        CONFIG | TOKENIZER_CONFIG | INDEX => Some(SMALL_BYTES),
        _ => None,
    }
}
