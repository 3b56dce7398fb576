//! A Hugging Face hub of a few small repositories on loopback: as much of its HTTP as a download asks for, and the
//! ways in which it can fail or lie.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use sha1::Sha1;
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
    /// Where the bytes of large files lie, if not here: the beginning of a URL.
    pub elsewhere: Option<String>,
    /// The first rule that fits a request, and that is not used up, counts.
    pub rules: Vec<Rule>,
    /// Every request for a file.
    pub requests: Vec<Asked>,
}

/// A request for a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub method: String,
    pub file: String,
    pub first: usize,
    pub authorization: Option<String>,
}

/// How requests for one file go wrong.
pub struct Rule {
    pub file: &'static str,
    /// `GET` or `HEAD`; "" means both.
    pub method: &'static str,
    /// For so many requests.
    pub times: usize,
    pub fault: Fault,
}

#[derive(Clone)]
pub enum Fault {
    /// A status with further headers, each ended by `\r\n`.
    Status(&'static str, String),
    /// The answer with this header instead of its own, or without it if the value is empty.
    Header(&'static str, String),
    /// The body ends after so many bytes.
    Cut(usize),
    /// Other bytes than the hash says.
    Garble,
    /// The connection is closed without a word.
    Hangup,
    /// Nothing is ever said.
    Silence,
    /// The answer, a byte at a time.
    Trickle,
    /// A body without a length, and without an end.
    Endless,
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
        let thread = spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, stopped) = (shared.clone(), stopped.clone());
                // A client that hangs up early is part of the tests.
                spawn(move || answer(&stream.unwrap(), &shared, &stopped));
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

    /// Lets so many requests for `file` go wrong.
    pub fn fail(&self, method: &'static str, file: &'static str, times: usize, fault: Fault) {
        let rule = Rule {
            file,
            method,
            times,
            fault,
        };
        self.with(|state| state.rules.push(rule));
    }

    /// Ends all misbehaviour and forgets the requests.
    pub fn recover(&self) {
        self.with(|state| {
            state.rules.clear();
            state.requests.clear();
        });
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
        let names: BTreeSet<String> = self.with(|state| {
            state
                .requests
                .iter()
                .map(|asked| asked.file.clone())
                .collect()
        });
        names.into_iter().collect()
    }

    /// The first bytes of all requests for the content of `file`.
    pub fn firsts(&self, file: &str) -> Vec<usize> {
        self.with(|state| {
            let asked = state.requests.iter();
            asked
                .filter(|asked| asked.method == "GET" && asked.file == file)
                .map(|asked| asked.first)
                .collect()
        })
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The head and the body of an answer, and how they are sent.
struct Answer {
    status: &'static str,
    headers: BTreeMap<&'static str, String>,
    body: Vec<u8>,
    fault: Option<Fault>,
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>, stop: &AtomicBool) -> Result<()> {
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
    let mut words = request.split(' ');
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or("/").split('?').next().unwrap();
    let mut answer = response(method, path, &headers, &mut state.lock().unwrap());
    if let Some(Fault::Header(name, value)) = &answer.fault {
        answer.headers.remove(name);
        if !value.is_empty() {
            answer.headers.insert(name, value.clone());
        }
    }
    let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some(Fault::Status(status, headers)) = &answer.fault {
        head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n{headers}");
        answer.body.clear();
    }
    head += "\r\n";
    if method == "HEAD" {
        answer.body.clear();
    }
    let slowly = |stream: &mut &TcpStream, bytes: &[u8]| {
        for byte in bytes {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            stream.write_all(&[*byte])?;
            sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    match answer.fault {
        Some(Fault::Hangup) => return Ok(()),
        Some(Fault::Silence) => {
            while !stop.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(5));
            }
            return Ok(());
        }
        Some(Fault::Trickle) => {
            stream.write_all(head.as_bytes())?;
            return slowly(&mut stream, &answer.body);
        }
        Some(Fault::Endless) => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes())?;
            let chunk = [b"10000\r\n", [b'x'; 0x10000].as_slice(), b"\r\n"].concat();
            while !stop.load(Ordering::SeqCst) {
                stream.write_all(&chunk)?;
            }
            return Ok(());
        }
        Some(Fault::Cut(length)) => answer.body.truncate(length),
        Some(Fault::Garble) => answer.body.fill(b'?'),
        _ => {}
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(&answer.body)
}

fn response(
    method: &str,
    path: &str,
    headers: &BTreeMap<String, String>,
    state: &mut State,
) -> Answer {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (repo, revision, file) = match parts.as_slice() {
        [org, name, "resolve", revision, file @ ..] => {
            (format!("{org}/{name}"), revision, file.join("/"))
        }
        ["api", "models", org, name, "revision", revision] => {
            return listing(&format!("{org}/{name}"), revision, state);
        }
        _ => return plain("404 Not Found", String::new()),
    };
    let authorization = headers.get("authorization").cloned();
    let range = headers.get("range").map(|range| {
        let first = range.strip_prefix("bytes=").unwrap().strip_suffix('-');
        first.unwrap().parse::<usize>().unwrap()
    });
    state.requests.push(Asked {
        method: method.to_string(),
        file: file.clone(),
        first: range.unwrap_or(0),
        authorization: authorization.clone(),
    });
    if let Some(token) = state.token.get(&repo)
        && authorization != Some(format!("Bearer {token}"))
    {
        return plain("401 Unauthorized", String::new());
    }
    let commit = commit(&repo, revision, state);
    let fault = state
        .rules
        .iter_mut()
        .find(|rule| rule.times > 0 && rule.file == file && ["", method].contains(&rule.method));
    let fault = fault.map(|rule| {
        rule.times -= 1;
        rule.fault.clone()
    });
    let Some(bytes) = state
        .files
        .get(&(repo.clone(), commit.clone(), file.clone()))
    else {
        return Answer {
            fault,
            ..plain("404 Not Found", String::new())
        };
    };
    let large = file.ends_with(".safetensors") || file.ends_with(".gguf");
    let elsewhere = state.elsewhere.as_ref().filter(|_| large);
    let elsewhere =
        elsewhere.map(|base| format!("{base}/{repo}/resolve/{commit}/{file}?sig=secret"));
    Answer {
        fault,
        ..content(bytes, large, &commit, range, elsewhere)
    }
}

fn commit(repo: &str, revision: &str, state: &State) -> String {
    let branch = (repo.to_string(), revision.replace("%2F", "/"));
    state
        .refs
        .get(&branch)
        .cloned()
        .unwrap_or(revision.to_string())
}

/// The hub names large files by their sha256, and small ones by their git hash.
pub fn etag(bytes: &[u8], large: bool) -> String {
    let hash = if large {
        Sha256::digest(bytes).to_vec()
    } else {
        Sha1::digest([format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat()).to_vec()
    };
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn content(
    bytes: &[u8],
    large: bool,
    commit: &str,
    range: Option<usize>,
    elsewhere: Option<String>,
) -> Answer {
    let etag = format!("\"{}\"", etag(bytes, large));
    let mut headers = BTreeMap::from([("X-Repo-Commit", commit.to_string())]);
    if let Some(location) = elsewhere {
        headers.insert("Location", location);
        headers.insert("X-Linked-Etag", etag);
        headers.insert("X-Linked-Size", bytes.len().to_string());
        headers.insert("ETag", "\"of the redirect\"".to_string());
        headers.insert("Content-Length", "0".to_string());
        return Answer {
            status: "302 Found",
            headers,
            body: Vec::new(),
            fault: None,
        };
    }
    let body = bytes[range.unwrap_or(0)..].to_vec();
    headers.insert("ETag", etag);
    headers.insert("Content-Length", body.len().to_string());
    let status = match range {
        None => "200 OK",
        Some(first) => {
            let (last, all) = (bytes.len() - 1, bytes.len());
            headers.insert("Content-Range", format!("bytes {first}-{last}/{all}"));
            "206 Partial Content"
        }
    };
    Answer {
        status,
        headers,
        body,
        fault: None,
    }
}

fn listing(repo: &str, revision: &str, state: &State) -> Answer {
    let commit = commit(repo, revision, state);
    let keys = state
        .files
        .keys()
        .filter(|key| key.0 == repo && key.1 == commit);
    let files: Vec<String> = keys
        .map(|key| format!("{{\"rfilename\": \"{}\"}}", key.2))
        .collect();
    let files = files.join(", ");
    plain(
        "200 OK",
        format!("{{\"sha\": \"{commit}\", \"siblings\": [{files}]}}"),
    )
}

fn plain(status: &'static str, body: String) -> Answer {
    Answer {
        status,
        headers: BTreeMap::from([("Content-Length", body.len().to_string())]),
        body: body.into_bytes(),
        fault: None,
    }
}
