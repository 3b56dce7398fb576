//! A Hugging Face hub of a few small repositories on loopback: as much of its HTTP as the hf-hub crate
//! asks for, and the ways in which it can fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

/// What a hub holds, and how it misbehaves.
#[derive(Default)]
pub struct State {
    /// (repository, branch or tag) -> commit.
    pub refs: BTreeMap<(String, String), String>,
    /// (repository, commit, file) -> bytes.
    pub files: BTreeMap<(String, String, String), Vec<u8>>,
    /// Repositories that want this token.
    pub token: BTreeMap<String, String>,
    /// Bodies of files with this name end after so many bytes.
    pub cut: Option<(&'static str, usize)>,
    /// Files with this name are sent with other bytes than their etag says.
    pub garble: Option<&'static str>,
    /// Every request for a file: path and first byte.
    pub requests: Vec<(String, usize)>,
}

/// A running hub; dropping it closes the port.
pub struct Hub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (state.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that hangs up early is part of the tests.
                let _ = answer(&stream.unwrap(), &shared);
            }
        });
        Self {
            address,
            state,
            stop,
            thread: Some(thread),
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes or reads the state.
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Puts `files` into a repository as a commit, and lets `branch` point to it.
    pub fn commit(&self, repo: &str, branch: &str, commit: &str, files: &[(&str, &str)]) {
        self.with(|state| {
            state
                .refs
                .insert((repo.into(), branch.into()), commit.into());
            for (file, text) in files {
                let key = (repo.into(), commit.into(), file.to_string());
                state.files.insert(key, text.as_bytes().to_vec());
            }
        });
    }

    /// The names of the files that were asked for, each once, sorted.
    pub fn asked_for(&self) -> Vec<String> {
        let names = self.with(|state| {
            let paths = state
                .requests
                .iter()
                .map(|(path, _)| path.rsplit('/').next().unwrap());
            paths
                .map(str::to_string)
                .collect::<std::collections::BTreeSet<_>>()
        });
        names.into_iter().collect()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_string());
    }
    let path = request
        .split(' ')
        .nth(1)
        .unwrap_or("/")
        .trim_start_matches('/')
        .to_string();
    stream.write_all(&response(&path, &headers, &mut state.lock().unwrap()))
}

fn response(path: &str, headers: &BTreeMap<String, String>, state: &mut State) -> Vec<u8> {
    let parts: Vec<&str> = path.split('/').collect();
    let (repo, revision, file) = match parts.as_slice() {
        [org, name, "resolve", revision, file @ ..] => {
            (format!("{org}/{name}"), revision, file.join("/"))
        }
        ["api", "models", org, name, "revision", revision] => {
            return listing(&format!("{org}/{name}"), revision, state);
        }
        _ => return plain("404 Not Found", ""),
    };
    if let Some(token) = state.token.get(&repo)
        && headers.get("authorization") != Some(&format!("Bearer {token}"))
    {
        return plain("401 Unauthorized", "");
    }
    let range = headers["range"].strip_prefix("bytes=").unwrap().to_string();
    let (first, last) = range.split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    state.requests.push((path.to_string(), first));
    let commit = commit(&repo, revision, state);
    let Some(bytes) = state.files.get(&(repo, commit.clone(), file.clone())) else {
        return plain("404 Not Found", "");
    };
    let end = last.parse().map_or(bytes.len(), |last: usize| last + 1);
    send(state, &file, &commit, bytes, first..end)
}

fn commit(repo: &str, revision: &str, state: &State) -> String {
    let branch = (repo.to_string(), revision.replace("%2F", "/"));
    state
        .refs
        .get(&branch)
        .cloned()
        .unwrap_or(revision.to_string())
}

fn send(
    state: &State,
    file: &str,
    commit: &str,
    bytes: &[u8],
    range: std::ops::Range<usize>,
) -> Vec<u8> {
    // The hub names large files by their sha256.
    let hash = Sha256::digest(bytes);
    let etag: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nETag: \"{etag}\"\r\n\
         X-Repo-Commit: {commit}\r\nContent-Range: bytes {}-{}/{}\r\nContent-Length: {}\r\n\r\n",
        range.start,
        range.end - 1,
        bytes.len(),
        range.len(),
    );
    let mut body = bytes[range].to_vec();
    if let Some((name, length)) = state.cut
        && file == name
    {
        body.truncate(length);
    }
    if state.garble == Some(file) {
        body.fill(b'?');
    }
    [head.into_bytes(), body].concat()
}

fn listing(repo: &str, revision: &str, state: &State) -> Vec<u8> {
    let commit = commit(repo, revision, state);
    let keys = state
        .files
        .keys()
        .filter(|key| key.0 == repo && key.1 == commit);
    let files: Vec<String> = keys
        .map(|key| format!("{{\"rfilename\": \"{}\"}}", key.2))
        .collect();
    plain(
        "200 OK",
        &format!(
            "{{\"sha\": \"{commit}\", \"siblings\": [{}]}}",
            files.join(", ")
        ),
    )
}

fn plain(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
