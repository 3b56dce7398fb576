//! The download of one model into the Hugging Face cache.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use hf_hub::Cache;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};

use super::super::name::HubName;
use super::super::{DownloadProgress, HubConfig, HubError, folder, gguf};
use super::blob::{Bar, check};
use super::{label, repo};

/// One model on its way from the hub to the cache.
pub(super) struct Download<'a> {
    name: &'a HubName,
    api: Api,
    cache: Cache,
    endpoint: String,
    /// What to say of the token where the hub refuses.
    token: &'static str,
    progress: &'a dyn DownloadProgress,
}

impl<'a> Download<'a> {
    pub fn new(
        name: &'a HubName,
        config: &HubConfig,
        cache: Cache,
        progress: &'a dyn DownloadProgress,
    ) -> Result<Self, HubError> {
        let endpoint = config.endpoint.trim_end_matches('/').to_string();
        let token = config.token.clone().or_else(|| cache.token());
        let token_words = match token {
            Some(_) => "the one in use may not",
            None => "none is set",
        };
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(endpoint.clone())
            .with_token(token)
            .with_user_agent(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| HubError::Transfer {
                endpoint: endpoint.clone(),
                repo: label(name),
                file: "anything".to_string(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            name,
            api,
            cache,
            endpoint,
            token: token_words,
            progress,
        })
    }

    /// Fetches what the cache lacks; returns the commit.
    pub fn run(&self) -> Result<String, HubError> {
        let first = self.name.gguf.as_deref().unwrap_or(folder::CONFIG);
        let commit = self.commit(first)?;
        match &self.name.gguf {
            Some(file) => gguf::split_siblings(file)
                .iter()
                .try_for_each(|part| self.fetch(&commit, part).map(|_| ()))?,
            None => self.fetch_folder(&commit)?,
        }
        let cached = self.cache.repo(repo(self.name, self.name.revision()));
        let written = cached.create_ref(&commit);
        written.map_err(HubError::io("write a reference into", self.cache.path()))?;
        Ok(commit)
    }

    /// The commit behind the revision, asked by way of a file that the model must have.
    fn commit(&self, file: &str) -> Result<String, HubError> {
        let url = self
            .api
            .repo(repo(self.name, self.name.revision()))
            .url(file);
        match self.api.metadata(&url) {
            Ok(metadata) => Ok(metadata.commit_hash().to_string()),
            Err(error) => Err(self.error(file, error)),
        }
    }

    /// The weights come last: without them no later start takes the snapshot for a whole model.
    fn fetch_folder(&self, commit: &str) -> Result<(), HubError> {
        self.fetch(commit, folder::CONFIG)?;
        self.fetch(commit, folder::TOKENIZER)?;
        self.fetch_optional(commit, folder::TOKENIZER_CONFIG)?;
        if self.fetch_optional(commit, folder::WEIGHTS)?.is_some() {
            return Ok(());
        }
        let Some(index) = self.fetch_optional(commit, folder::INDEX)? else {
            return Err(self.not_on_hub(&format!("{} and no {}", folder::WEIGHTS, folder::INDEX)));
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
        let repo = repo(self.name, commit);
        let cached = self
            .cache
            .repo(repo.clone())
            .pointer_path(commit)
            .join(file);
        if cached.is_file() {
            return Ok(Some(cached));
        }
        let size = Cell::new(None);
        let bar = Bar {
            what: format!("{}/{file}", self.name.repo),
            progress: self.progress,
            size: &size,
            at: 0,
            reported: 0,
        };
        match self.api.repo(repo).download_with_progress(file, bar) {
            Ok(path) => check(&path, size.get()).map(|()| Some(path)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.error(file, error)),
        }
    }

    fn error(&self, file: &str, error: ApiError) -> HubError {
        match (status(&error), error) {
            (Some(404), _) => self.not_on_hub(file),
            (Some(status @ (401 | 403)), _) => HubError::Refused {
                endpoint: self.endpoint.clone(),
                repo: label(self.name),
                status,
                token: self.token,
            },
            (_, ApiError::IoError(source)) if is_disk_trouble(&source) => HubError::Io {
                action: "write into",
                path: self.cache.path().clone(),
                source,
            },
            (status, error) => HubError::Transfer {
                endpoint: self.endpoint.clone(),
                repo: label(self.name),
                file: file.to_string(),
                reason: self.reason(status, &error),
            },
        }
    }

    fn reason(&self, status: Option<u16>, error: &ApiError) -> String {
        match (status, error) {
            (_, ApiError::LockAcquisition(path)) => format!(
                "another process is downloading it (it holds {}); wait for that one to end",
                path.display()
            ),
            (Some(416), _) | (_, ApiError::InvalidResume) => {
                let dir = self
                    .cache
                    .path()
                    .join(repo(self.name, "").folder_name())
                    .join("blobs");
                format!(
                    "an earlier partial download is damaged; delete {}/*.part",
                    dir.display()
                )
            }
            _ => error.to_string(),
        }
    }

    /// Repositories of GGUF files are common; name the files that could be used.
    fn not_on_hub(&self, file: &str) -> HubError {
        let info = self.api.repo(repo(self.name, self.name.revision())).info();
        let files = info.map(|info| info.siblings).unwrap_or_default();
        let ggufs: Vec<String> = files
            .into_iter()
            .map(|file| file.rfilename)
            .filter(|file| file.ends_with(".gguf"))
            .collect();
        let hint = match ggufs.as_slice() {
            [] => String::new(),
            _ => format!(
                "; it has GGUF files, to be given as {}/FILE: {}",
                self.name.repo,
                ggufs.join(", ")
            ),
        };
        HubError::NotOnHub {
            endpoint: self.endpoint.clone(),
            repo: label(self.name),
            file: file.to_string(),
            hint,
        }
    }
}

/// The HTTP status that an error stands for. hf-hub passes on the error of its own HTTP client, whose
/// types are not ours to name; its text is, and the tests of the hub path hold it fast.
fn status(error: &ApiError) -> Option<u16> {
    let ApiError::RequestError(error) = error else {
        return None;
    };
    error
        .to_string()
        .strip_prefix("http status: ")?
        .parse()
        .ok()
}

/// hf-hub's I/O errors do not tell the network from the disk; these kinds come from the disk alone.
fn is_disk_trouble(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied
            | ErrorKind::NotADirectory
    )
}
