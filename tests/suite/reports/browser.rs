//! A page in headless Chromium: what one would see to be wrong with it.
//!
//! No driver is needed: a wrapper page shows the page in a frame of the wanted width, measures it, and writes the
//! numbers into itself, which Chromium prints. Errors of the console are in its log.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The programs' names, the first that is found.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Longer than a page takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const FLAGS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=10000",
    "--window-size=1400,1000",
    "--dump-dom",
];

pub struct Browser {
    program: PathBuf,
}

/// The reader's scheme of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

/// What was seen.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct View {
    /// Pixels that the page has.
    pub width: u32,
    /// Whether the page is dark: the scheme, and its ground.
    pub dark: bool,
    /// Pictures.
    pub svgs: usize,
    /// Pictures without a size.
    pub empty: usize,
    /// Elements that are wider than their room, but for boxes that scroll.
    pub wide: Vec<String>,
    /// Text in pictures beyond their edges.
    pub clipped: Vec<String>,
    /// Elements that no page has, such as those that a name in a file would make.
    pub foreign: usize,
    /// What the console said.
    #[serde(default)]
    pub console: Vec<String>,
}

const MEASURE: &str = r#"
onload = () => {
  const frame = document.querySelector('iframe'), d = frame.contentDocument, w = frame.contentWindow;
  const style = e => w.getComputedStyle(e);
  const elements = [...d.querySelectorAll('html, body, body *')].filter(e => e instanceof w.HTMLElement);
  const is_wide = e => style(e).display != 'inline' && style(e).overflowX == 'visible' && e.scrollWidth > e.clientWidth;
  const is_clipped = t => {
    const a = t.getBoundingClientRect(), b = t.ownerSVGElement.getBoundingClientRect();
    return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
  };
  const is_empty = s => { const r = s.getBoundingClientRect(); return !(r.width > 0 && r.height > 0); };
  const ground = style(d.body).backgroundColor.match(/\d+/g).slice(0, 3).map(Number);
  document.getElementById('view').textContent = JSON.stringify({
    width: d.documentElement.clientWidth,
    dark: w.matchMedia('(prefers-color-scheme: dark)').matches && Math.max(...ground) < 64,
    svgs: d.querySelectorAll('svg').length,
    empty: [...d.querySelectorAll('svg')].filter(is_empty).length,
    wide: elements.filter(is_wide).map(e => `${e.tagName} ${e.scrollWidth} in ${e.clientWidth}: ${e.textContent.slice(0, 60)}`),
    clipped: [...d.querySelectorAll('svg text')].filter(is_clipped).map(t => t.textContent.trim()),
    foreign: d.querySelectorAll('script, img, b, i, iframe, link').length,
  });
};
"#;

impl Browser {
    /// The installed browser. Without one the checks are not run, which only a person's machine may do: CI has one.
    pub fn find() -> Option<Browser> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
        let programs = NAMES
            .iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        let found = programs.into_iter().find(|program| program.is_file());
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(
            found.is_some() || !is_ci,
            "no Chromium: install it (Debian: apt-get install chromium)"
        );
        if found.is_none() {
            eprintln!(
                "NOT RUN: the page was not opened, for there is no Chromium (Debian: apt-get install chromium)"
            );
        }
        found.map(|program| Browser { program })
    }

    /// Shows a page in a frame of this width.
    pub fn open(&self, page: &str, width: u32, scheme: Scheme) -> View {
        let dir = tempfile::tempdir().unwrap();
        let quoted = page.replace('&', "&amp;").replace('"', "&quot;");
        let wrapper = format!(
            "<!doctype html><meta charset=utf-8><iframe width={width} height=900 style='border:0' srcdoc=\"{quoted}\"></iframe>\
             <pre id=view></pre><script>{MEASURE}</script>"
        );
        let path = dir.path().join("wrapper.html");
        fs::write(&path, wrapper).unwrap();
        let mut command = Command::new(&self.program);
        command.args(FLAGS);
        command.arg(match scheme {
            Scheme::Dark => "--blink-settings=preferredColorScheme=0",
            Scheme::Light => "--blink-settings=preferredColorScheme=1",
        });
        command.arg(format!(
            "--user-data-dir={}",
            dir.path().join("profile").display()
        ));
        command.arg(format!("file://{}", path.display()));
        let output = run(command);
        let dom = String::from_utf8_lossy(&output.stdout);
        let log = String::from_utf8_lossy(&output.stderr);
        let measured = dom
            .split_once("<pre id=\"view\">")
            .and_then(|(_, rest)| rest.split_once("</pre>"));
        let measured = measured
            .unwrap_or_else(|| panic!("nothing was measured: {log}"))
            .0;
        let measured = measured
            .replace("&gt;", ">")
            .replace("&lt;", "<")
            .replace("&amp;", "&");
        let view: View = serde_json::from_str(&measured)
            .unwrap_or_else(|error| panic!("{error}: {measured} {log}"));
        let console = log.lines().filter(|line| line.contains(":CONSOLE"));
        View {
            console: console.map(str::to_string).collect(),
            ..view
        }
    }
}

/// Runs a command that must end.
fn run(mut command: Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id();
    let started = Instant::now();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let timed_out = is_done.recv_timeout(PATIENCE).is_err();
        if timed_out {
            // SAFETY: the child was not waited for, so its id is its own.
            unsafe { libc::kill(id as libc::pid_t, libc::SIGKILL) };
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    assert!(
        output.status.success(),
        "Chromium after {:?}: {}",
        started.elapsed(),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
